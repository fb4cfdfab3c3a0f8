"""The command line, ``rolora`` or ``python -m rolora``."""
