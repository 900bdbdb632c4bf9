"""The log as it grows: one event appended and projected at once, by the rules of the backfill."""
