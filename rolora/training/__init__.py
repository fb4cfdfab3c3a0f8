"""What one client does in a round: examples, tokenisation, objectives, local update, and the engines that run it."""
