"""Simulations that write the records of the figures."""
