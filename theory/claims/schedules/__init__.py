"""Schedules of the two factors, and step sizes of their own."""
