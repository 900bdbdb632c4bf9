"""From an audit record to a message, a conversation and a customer: pure functions, no I/O."""
