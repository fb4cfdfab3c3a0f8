"""The linear record, put into panels of curves, and what the curves say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paper_figures.drawing.style import band, in_order, method_style

FALLEN = 0.1
"""A method counts as converging if its angle distance fell below a tenth of its start."""

TITLES = {"trajectories": "one b* for all clients", "heterogeneous": "every client its own b*"}
"""The record's panels of curves, and their titles."""


@dataclass(frozen=True)
class Curve:
    """One method with one kind of local update, all seeds.

    Args:
        algorithm: the method's name.
        label: its label, with the kind of local update up to the first comma.
        variant: 0 for the first kind of local update, 1 for the second.
        runs: by seed.
    """

    algorithm: str
    label: str
    variant: int
    runs: list[dict[str, Any]]

    def travelled(self) -> tuple[float, float]:
        """The angle distance before the first round and after the last, geometric mean over seeds."""
        mean, _, _ = band([run["angle_distance"] for run in self.runs], logarithmic=True)
        return float(mean[0]), float(mean[-1])


def panel(record: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The series of one panel, by seed."""
    return sorted((one for one in record["series"] if one["panel"] == name), key=lambda one: one["seed"] or 0)


def curves(record: dict[str, Any], name: str) -> list[Curve]:
    """The curves of one panel in the order of the legends."""
    runs = panel(record, name)
    updates = _updates(record)
    found = []
    for algorithm in in_order(run["algorithm"] for run in runs):
        for variant, update in enumerate(updates[algorithm]):
            same = [run for run in runs if (run["algorithm"], run.get("local_update")) == (algorithm, update)]
            label = method_style(algorithm).label + (f": {update.partition(',')[0]}" if update else "")
            if same:
                found.append(Curve(algorithm, label, variant, same))
    return found


def _updates(record: dict[str, Any]) -> dict[str, list[str]]:
    """Method -> its kinds of local update among the panels of curves, so that a label means the same in all of them."""
    found: dict[str, dict[str, None]] = {}
    for run in record["series"]:
        if run["panel"] in TITLES:
            found.setdefault(run["algorithm"], {})[run.get("local_update")] = None
    return {name: list(updates) for name, updates in found.items()}


def has_ratios(record: dict[str, Any]) -> bool:
    """Return True if the record holds measured contraction ratios."""
    return bool(panel(record, "local-ratio"))


def fedavg_converges(record: dict[str, Any]) -> bool:
    """Return True if FedAvg-LoRA's angle distance fell below a tenth of its start where all clients have one b*."""
    return any(_fell(one) for one in curves(record, "trajectories") if one.algorithm == "fedavg-lora")


def headline(record: dict[str, Any]) -> str:
    """Return which methods converge where all clients have one b*, and which do not, in words."""
    found = curves(record, "trajectories")
    down = [f"{one.label} ({one.travelled()[1]:.1e})" for one in found if _fell(one)]
    up = [f"{one.label} ({one.travelled()[1]:.2g})" for one in found if not _fell(one)]
    parts = [f"the angle distance has fallen for {', '.join(down)}"] if down else []
    parts += [f"it stays where the first a put it for {', '.join(up)}"] if up else []
    return f"With one b*, after the last round: {'; '.join(parts)}"


def _fell(curve: Curve) -> bool:
    start, end = curve.travelled()
    return end < FALLEN * start


def described(parameters: dict[str, Any], names: Sequence[str]) -> str:
    """Some of the record's parameters in one line, under their own names."""
    return ", ".join(f"{name.replace('_', ' ')} {parameters[name]}" for name in names if name in parameters)
