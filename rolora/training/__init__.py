"""A client's part of a round: examples, tokenisation, objectives, local update, and the engines that run it."""
