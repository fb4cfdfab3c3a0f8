"""Metrics by name."""

import numpy as np


def compute(names, predictions, references):
    """name -> value."""
    return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))} if "accuracy" in names else {}
