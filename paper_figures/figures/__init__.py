"""One file a figure, and the drawings that several share."""
