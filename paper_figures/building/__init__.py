"""Rendering, freshness of what is committed, findings in words, README tables."""
