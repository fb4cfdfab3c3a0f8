"""The linear model: data, rounds of Algorithm 2, ensembles, bounds and floors."""
