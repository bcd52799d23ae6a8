"""What every HTTP surface of the hub stands on: the endpoint table, bodies, ranges and errors."""
