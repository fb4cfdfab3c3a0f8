"""What a run will cost before it starts: parameters, bytes, memory, operations, time."""
