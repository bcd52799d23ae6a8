"""What happened to a repository and to its paths."""
