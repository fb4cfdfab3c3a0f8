"""Mutation testing: mistakes made on purpose, one at a time, that claims and tests have to notice."""
