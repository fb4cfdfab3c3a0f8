"""The two-layer model: gradients and the zero start."""
