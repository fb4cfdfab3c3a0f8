"""Statements recalled from the first version of the paper."""
