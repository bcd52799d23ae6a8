"""Packs of large clones, made once and sent often."""
