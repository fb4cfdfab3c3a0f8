"""One statement a file; ``theory.claim.registry`` finds them. No claim imports another."""
