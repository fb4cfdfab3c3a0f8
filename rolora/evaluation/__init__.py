"""Quality of a model: held-out metrics, selection of rounds, intervals, benchmarks."""
