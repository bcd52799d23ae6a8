"""Large files: which repository possesses what, where their bytes are, and how they are checked."""
