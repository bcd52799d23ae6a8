"""The lowest rung: bytes, packs, refs and rows. It imports nothing of ours above it."""
