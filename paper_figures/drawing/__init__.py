"""Style of figures, and tables as values."""
