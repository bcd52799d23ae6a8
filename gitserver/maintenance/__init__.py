"""Repacking: many packs become few, in the background."""
