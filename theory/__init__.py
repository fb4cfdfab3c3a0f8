"""Simulations of RoLoRA's linear and non-linear models, and numerical checks of its convergence claims."""
