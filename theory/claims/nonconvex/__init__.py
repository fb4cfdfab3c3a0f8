"""The general non-convex statement: descent, rate, gradient deviation."""
