"""Figures and tables of the RoLoRA papers, drawn from records."""
