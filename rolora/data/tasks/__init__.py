"""The tasks that are known by name: one file each, with ``TASKS``; a new file is found by itself."""
