"""Commits made by the hub for clients that do not speak git: the same objects that git would have made."""
