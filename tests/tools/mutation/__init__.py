"""Whether the claims and tests would notice a mistake: mistakes made on purpose, one at a time."""
