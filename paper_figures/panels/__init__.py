"""Drawings that several figures or tables share."""
