"""Cost of a run before it starts: parameters, bytes, memory, operations, time."""
