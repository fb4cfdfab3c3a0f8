"""The command line, ``python -m rolora``."""
