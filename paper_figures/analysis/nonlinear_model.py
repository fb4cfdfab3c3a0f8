"""The records of the two-layer model, put into panels of runs, and what is quoted beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paper_figures.drawing.style import in_order, method_style
from paper_figures.records.sources import COMMITTED
from rolora.records import read_json

CENTRALISED = "centralised"

QUOTED_NUMBERS = COMMITTED / "printed_figure2.json"
"""Numbers that others report for the paper's Figure 2, with their trust; not a record."""


@dataclass(frozen=True)
class Panel:
    """One partition of the digits.

    Args:
        name: as in the record.
        rank: of A and B.
        grid: method -> learning rate -> runs by seed.
        chosen: method -> the runs at the chosen rate, methods in the order of the legends.
    """

    name: str
    rank: int
    grid: dict[str, dict[float, list[dict[str, Any]]]]
    chosen: dict[str, list[dict[str, Any]]]

    def rate(self, method: str) -> float:
        """The learning rate that validation chose for a method."""
        return self.chosen[method][0]["learning_rate"]

    def at_an_end(self) -> list[str]:
        """The methods whose chosen rate is the smallest or the largest of the grid: a better one may lie outside."""
        return [name for name in self.chosen if self.rate(name) in (min(self.grid[name]), max(self.grid[name]))]


def panels(record: dict[str, Any], stage: str | None = None) -> list[Panel]:
    """The panels in the order of the record; the centralised reference is none of them.

    Args:
        record: of the two-layer model.
        stage: "sweep" or "final" where the record has both.
    """
    ranks = {panel["name"]: panel["rank"] for panel in record["parameters"]["panels"]}
    runs = [run for run in record["series"] if run.get("stage") == stage]
    names = dict.fromkeys(run["panel"] for run in runs if run["panel"] != CENTRALISED)
    return [_panel(name, ranks[name], [run for run in runs if run["panel"] == name]) for name in names]


def _panel(name: str, rank: int, runs: Sequence[dict[str, Any]]) -> Panel:
    grid: dict[str, dict[float, list[dict[str, Any]]]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        grid.setdefault(run["algorithm"], {}).setdefault(run["learning_rate"], []).append(run)
    chosen = {method: next(found for found in grid[method].values() if found[0]["chosen"]) for method in in_order(grid)}
    return Panel(name, rank, grid, chosen)


def reference(record: dict[str, Any], stage: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """The centralised runs at their chosen rate, under the method's name; empty if there are none."""
    found = reference_panel(record, stage)
    return found.chosen if found else {}


def reference_panel(record: dict[str, Any], stage: str | None = None) -> Panel | None:
    """The centralised runs as a panel of their own; None if there are none."""
    runs = [run for run in record["series"] if run["panel"] == CENTRALISED and run.get("stage") == stage]
    return _panel(CENTRALISED, main_rank(panels(record, stage)), runs) if runs else None


def main_rank(found: Sequence[Panel]) -> int:
    """The rank of the first panel, which the centralised reference shares."""
    return found[0].rank


def finals(runs: Sequence[dict[str, Any]], window: int) -> list[float]:
    """Each seed's final test accuracy, the mean of its last ``window`` evaluations."""
    return [float(np.mean(run["test_accuracy"][-window:])) for run in runs]


def finals_by_seed(runs: Sequence[dict[str, Any]], window: int) -> dict[int, float]:
    """Return seed -> final test accuracy, the mean of the last ``window`` evaluations."""
    return dict(zip((run["seed"] for run in runs), finals(runs, window), strict=True))


def short(method: str) -> str:
    """A method's label without its last word, for crowded places.

    Example:
        >>> short("fedavg-lora")
        'FedAvg'
    """
    return method_style(method).label.removesuffix("-LoRA")


def described(record: dict[str, Any]) -> str:
    """Model, data and scale in one line, from the record's own words."""
    parameters = record["parameters"]
    ranks = sorted({panel["rank"] for panel in parameters["panels"]}, reverse=True)
    shortened = "shortened run, numbers mean nothing; " if parameters["quick"] else ""
    return (
        f"{shortened}{parameters['data']} (the paper: {parameters['paper_data']}); rank "
        f"{ranks[0]} unless named; {parameters['local_epochs']} local epochs of SGD, "
        f"batch {parameters['batch_size']}, gradient clip {parameters['clip']:g}"
    )


def described_in_full(record: dict[str, Any]) -> str:
    """Return the description of a study at full size, with its model, arithmetic and sweep."""
    parameters = record["parameters"]
    sizes, sweep = parameters["split_sizes"], parameters["sweep"]
    shortened = "shortened run, numbers mean nothing; " if parameters["quick"] else ""
    return (
        f"{shortened}{parameters['model'].split(',')[0]}, {parameters['initialisation']}; rank "
        f"{parameters['panels'][0]['rank']}. "
        f"{parameters['data']}, of which {sizes['train']:,} train and {sizes['validation']:,} choose the learning rate. "
        f"{parameters['local_epochs']} local epochs of SGD a round, batch {parameters['batch_size']}, gradient norm "
        f"clipped at {parameters['clip']:g}, {parameters['dtype']}, all clients in every round. Learning rate: "
        f"{len(parameters['learning_rates'])} values from {parameters['learning_rates'][0]:g} to "
        f"{parameters['learning_rates'][-1]:g}, each for {sweep['rounds']} rounds (IID and centralised "
        f"{sweep['control_rounds']}) with {'one seed' if sweep['seeds'] == 1 else str(sweep['seeds']) + ' seeds'}"
    )


def quoted() -> dict[str, Any]:
    """Return the numbers that others report for Figure 2: ``note``, ``trust``, and ``numbers`` by panel, method and source, in per cent."""
    return read_json(QUOTED_NUMBERS)
