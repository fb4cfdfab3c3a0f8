"""What notebooks call."""
