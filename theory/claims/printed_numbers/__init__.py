"""Arithmetic over the papers' printed tables."""
