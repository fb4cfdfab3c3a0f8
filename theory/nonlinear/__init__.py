"""The two-layer model on images."""
