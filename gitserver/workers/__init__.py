"""The processes that do what would hold up a server: one pool, and its tasks."""
