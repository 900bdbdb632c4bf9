"""Our tables, and the only place that knows them."""
