"""Where records lie, the commands that make them, and how they are read."""
