"""Clients whose solutions differ: limits, floors, drift, weights."""
