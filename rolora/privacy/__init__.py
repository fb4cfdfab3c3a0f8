"""Differential privacy: accounting, client level, example level."""
