"""What leads to what in one large pack, worked out ahead: a commit graph, and marks of all that selected commits reach."""
