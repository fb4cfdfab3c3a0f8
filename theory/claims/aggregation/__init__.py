"""Averaging factors against averaging updates: interference, exactness, gauge, bytes."""
