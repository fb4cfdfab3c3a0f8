"""Contraction of RoLoRA in the homogeneous linear model, and its sample complexity."""
