"""Checks of statements: claims, registry, runner, statistics, display."""
