"""The interference of the clients' factors, layer by layer and matrix by matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import describe
from paper_figures.analysis.methods import EXACT, Run, by_method, lost, short
from paper_figures.drawing.style import count_note, furnish, grid, letter, method_style, styled
from paper_figures.records.sources import Records
from rolora.evaluation.intervals import student


def applies(records: Records) -> bool:
    """Return True if interference was measured for a method that has any."""
    measured = [run for run in records["methods"] if lost([run], "interference")[0]]
    return any(float(_table(run).max()) > EXACT for run in measured)


@styled
def figure(records: Records) -> Figure:
    """(a) every method by matrix, the median over rounds; (b) the first method by round, a line for each matrix."""
    measured = {name: runs for name, runs in by_method(records["methods"]).items() if lost(runs, "interference")[0]}
    tables = {name: [_table(run) for run in runs] for name, runs in measured.items()}
    shown = {name: found for name, found in tables.items() if max(float(one.max()) for one in found) > EXACT}
    exact = [method_style(name).label for name in tables if name not in shown]
    run = next(iter(measured.values()))[0]
    layers = [short(name) for name in run["rounds"][0]["lost"]]
    result, axes = grid(1, 2, height=3.5)
    handles = _by_matrix(axes[0, 0], shown, layers)
    letter(axes[0, 0], 0, "by matrix, median over rounds")
    first = next(iter(shown))
    handles += _by_round(axes[0, 1], shown[first], layers)
    letter(axes[0, 1], 1, f"{method_style(first).label} by round")
    note = (
        f"{describe(run)}; {run['config']['federation']['num_clients']} clients. ‖mean (Aᵢ − Ā)(Bᵢ − B̄)‖ / ‖D − U‖ in Frobenius "
        f"norm, with the mean update D and the server's update U before the round. (a) {_counts(measured)}; (b) mean of the "
        f"seeds. Zero up to rounding, below {EXACT:g} in every layer and round: {', '.join(exact) or 'none'}."
    )
    return furnish(result, f"{run['model']['name']}: interference layer by layer", note, handles)


def _table(run: Run) -> np.ndarray:
    """Interference, (rounds, layers)."""
    return np.array([[one["interference"] for one in entry["lost"].values()] for entry in run["rounds"]])


def _counts(measured: dict[str, list[Run]]) -> str:
    return count_note([len(runs) for runs in measured.values()]).replace("band", "bars")


def _by_matrix(ax: Axes, tables: dict[str, list[np.ndarray]], layers: Sequence[str]) -> list[Any]:
    handles = []
    for number, (name, found) in enumerate(tables.items()):
        look, shift = method_style(name), 0.1 * (number - (len(tables) - 1) / 2)
        medians = [student([float(value) for value in column]) for column in zip(*map(_median, found), strict=True)]
        handles.append(
            ax.errorbar(
                [place + shift for place in range(len(layers))], [one.mean for one in medians],
                yerr=[one.half_width or 0.0 for one in medians], fmt=look.marker or ".", color=look.color, elinewidth=1,
                label=look.label,
            )
        )  # fmt: skip
    ax.set_xticks(range(len(layers)), [name.replace(" ", "\n") for name in layers])
    ax.set_ylim(bottom=0)
    ax.grid(axis="x", visible=False)
    ax.set_xlabel("layer and matrix")
    ax.set_ylabel("relative to the round's movement")
    return handles


def _median(table: np.ndarray) -> np.ndarray:
    """Of every layer, over rounds."""
    return np.median(table, axis=0)


def _by_round(ax: Axes, tables: Sequence[np.ndarray], layers: Sequence[str]) -> list[Any]:
    means = np.mean(tables, axis=0)
    colors = matplotlib.colormaps["cividis"](np.linspace(0, 0.9, max(1, len(layers))))
    handles = []
    for index, name in enumerate(layers):
        style = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1, 1, 1)))[index % 4]
        handles += ax.plot(range(1, len(means) + 1), means[:, index], color=colors[index], linestyle=style, label=name)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("round")
    return handles


ENTRY = Entry(
    "fig_interference_layers",
    title="Federated fine-tuning: interference layer by layer",
    shows="The interference of the clients' factors in every adapted matrix, by method, and of FedAvg-LoRA by round.",
    counterpart="arXiv 2502.01755v4, equations 1 and 2",
    needs=("methods",),
    make=figure,
    applies=applies,
)
