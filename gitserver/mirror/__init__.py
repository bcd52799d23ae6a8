"""Repositories that come from elsewhere and follow it: fetched by git, received like a push."""
