"""Federated fine-tuning: how the learning rate of each method and number of clients was chosen."""

from __future__ import annotations

from typing import Any

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.run_table import grouped, run_table
from paper_figures.drawing.style import in_order, method_style
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

Sweep = dict[tuple[int, str], dict[float, dict[str, Any]]]
"""(number of clients, method) -> learning rate -> the final evaluation on validation text."""


def sweep(runs: list[dict[str, Any]]) -> Sweep:
    """The runs of a learning-rate sweep by cell; those that were measured on other text than validation are left out."""
    cells: Sweep = {}
    on_validation = [run for run in runs if run["config"]["evaluation"]["split"] == "validation"]
    columns = ("federation.num_clients", "algorithm", "training.learning_rate")
    for (clients, method, rate), (run, *_) in grouped(run_table(on_validation), *columns) if on_validation else ():
        cells.setdefault((clients, method), {})[rate] = run["final"]
    return cells


def chosen(cell: dict[float, dict[str, Any]]) -> float:
    """The rate with the highest validation accuracy; between equals, the one with the lower loss."""
    return max(cell, key=lambda rate: (cell[rate]["accuracy"], -cell[rate]["loss"]))


def table(records: Records) -> Table:
    """One row a cell, one column a rate."""
    cells = sweep(records["sweep"])
    rates = sorted({rate for cell in cells.values() for rate in cell})
    rows = []
    for clients in sorted({clients for clients, _ in cells}):
        for name in in_order({method for number, method in cells if number == clients}):
            cell = cells[clients, name]
            accuracies = [f"{cell[rate]['accuracy']:.3f}" if rate in cell else "–" for rate in rates]
            best = chosen(cell)
            edge = ", the edge" if best in (min(cell), max(cell)) else ""
            rows.append((str(clients), method_style(name).label, *accuracies, f"{best:g}{edge}"))
    columns = ("clients", "method", *(f"{rate:g}" for rate in rates), "chosen")
    data, seeds = records["sweep"][0]["data"], {run["seed"] for run in records["sweep"]}
    return Table(
        title="Federated fine-tuning: choice of the learning rate",
        columns=columns,
        rows=tuple(rows),
        notes=(
            f"Accuracy on {data['validation']:,} validation texts that no client holds, after the last round; "
            f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}. With {data['validation']:,} texts an accuracy of 0.8 has "
            f"a standard error of {(0.16 / data['validation']) ** 0.5:.3f}, so neighbouring rates often have no significant difference.",
        ),
        numeric=frozenset(columns) - {"method"},
    )


ENTRY = Entry(
    "tab_learning_rates",
    title="Federated fine-tuning: choice of the learning rate",
    shows="Validation accuracy at every rate of the sweep, by clients and method, and the rate that was chosen.",
    counterpart="both papers choose on the test set; this does not",
    needs=("sweep",),
    make=table,
    applies=lambda records: bool(sweep(records["sweep"])),
)
