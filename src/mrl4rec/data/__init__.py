"""Data sets: the catalogue, downloads, interactions as arrays, planted dumps."""
