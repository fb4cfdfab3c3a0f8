"""The runs of all methods at one number of clients, put together by method."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from paper_figures.analysis.run_table import Run, grouped, run_table
from paper_figures.drawing.style import in_order
from rolora.errors import InputError

EXACT = 1e-5
"""Below this a miss, or an interference, is rounding: float32 factors leave about 1e-7, a re-factorisation a little more."""


def by_method(records: Sequence[Run]) -> dict[str, list[Run]]:
    """Method -> its runs by seed, in the order of the legends.

    Raises:
        InputError: two runs have the same method and seed, or the runs are not of one number of clients, model and data.
    """
    runs = {name: runs for (name,), runs in grouped(run_table(records), "algorithm")}
    for what in (lambda run: run["config"]["federation"]["num_clients"], lambda run: run["model"]["name"]):
        values = {what(run) for run in records}
        if len(values) > 1:
            raise InputError(f"methods records: got {sorted(map(str, values))}, expected one setting for all methods")
    return {name: runs[name] for name in in_order(runs)}


def lost(runs: Sequence[Run], what: str) -> tuple[list[int], list[list[float]]]:
    """The median over layers of "interference" or "missed", a curve a seed; empty where it was not measured.

    Args:
        runs: of one method.
        what: which of the two.

    Returns:
        Rounds from 1, and the curves.
    """
    curves = []
    for run in runs:
        layers = [[one[what] for one in entry.get("lost", {}).values()] for entry in run["rounds"]]
        if not all(layers) or any(value is None for row in layers for value in row):
            return [], []
        curves.append([float(np.median(row)) for row in layers])
    return list(range(1, len(curves[0]) + 1)), curves


def short(layer: str) -> str:
    """Number of the layer and the matrix's name, of a real model's layer; any other name as it is.

    Example:
        >>> short("bert.encoder.layer.3.attention.self.query"), short("made-up"), short("spread 0.5")
        ('3 query', 'made-up', 'spread 0.5')
    """
    numbers = re.findall(r"\.(\d+)\.", layer)
    return f"{numbers[-1]} {layer.rpartition('.')[2]}" if numbers else layer


def chosen_rates(sweep: Sequence[Run]) -> dict[str, dict[float, float]]:
    """Method -> learning rate -> final validation accuracy, the mean over seeds."""
    accuracies: dict[str, dict[float, float]] = {}
    for (name, rate), runs in grouped(run_table(sweep), "algorithm", "training.learning_rate"):
        accuracies.setdefault(name, {})[rate] = float(np.mean([run["final"]["accuracy"] for run in runs]))
    return {name: accuracies[name] for name in in_order(accuracies)}
