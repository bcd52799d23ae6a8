"""How refs may move: what stands in the way of an update."""
