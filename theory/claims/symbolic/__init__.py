"""Derivations in SymPy, compared with the code of the simulation."""
