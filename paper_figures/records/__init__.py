"""Records: files, checks, and the commands that make them."""
