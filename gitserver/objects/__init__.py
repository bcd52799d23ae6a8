"""Git objects: stored, parsed, serialized, and what they reach."""
