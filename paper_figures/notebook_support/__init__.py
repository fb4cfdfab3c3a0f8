"""Functions that notebooks call."""
