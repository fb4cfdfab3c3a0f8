"""The floor that a frozen A leaves FFA-LoRA with."""
