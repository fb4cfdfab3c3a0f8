"""One statement a file; ``theory.verification.registry.registry`` finds them. No claim imports another."""
