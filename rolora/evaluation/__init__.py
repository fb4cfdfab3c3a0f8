"""How well a model does: held-out metrics, selection of rounds, intervals, benchmarks."""
