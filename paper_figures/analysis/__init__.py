"""From records to numbers: groups of runs, methods, the confound, benchmarks, engines."""
