"""Loss of a round on a real model: the interference of the clients' factors, and what each method missed."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import describe
from paper_figures.analysis.methods import by_method, lost
from paper_figures.drawing.style import count_note, furnish, grid, in_order, letter, method_style, plot_seeds, styled
from paper_figures.records.sources import Records

PANELS = {"interference": "interference of the factors", "missed": "what the method missed"}
"""Measured quantity -> the panel's title."""

SMALLEST = 1e-9
"""Value drawn for an exact method: float32 factors leave about 1e-7."""


@styled
def figure(records: Records) -> Figure:
    """(a) interference of the factors, (b) what was missed, relative to the round's movement, against rounds."""
    methods = {name: runs for name, runs in by_method(records["methods"]).items() if lost(runs, "missed")[0]}
    result, axes = grid(1, 2, height=3.6)
    handles = {}
    for index, (what, title) in enumerate(PANELS.items()):
        ax, below = axes[0, index], []
        for name, runs in methods.items():
            rounds, curves = lost(runs, what)
            if not rounds:
                continue
            floored = [[max(value, SMALLEST) for value in curve] for curve in curves]
            handles[name] = plot_seeds(ax, name, rounds, floored, logarithmic=True)
            below += [method_style(name).label] if max(map(max, floored)) == SMALLEST else []
        ax.set_yscale("log")
        _name_those_below(ax, below)
        ax.set_xlabel("round")
        letter(ax, index, title)
    axes[0, 0].set_ylabel("relative to the round's movement")
    run = next(iter(methods.values()))[0]
    note = (
        f"{describe(run)}; {run['config']['federation']['num_clients']} clients. Frobenius norms, median over "
        f"{len(run['model']['adapted_layers'])} adapted layers, {count_note([len(runs) for runs in methods.values()])} "
        "(geometric). (a) ‖mean (Aᵢ − Ā)(Bᵢ − B̄)‖ / ‖D − U‖ with the mean update D and the server's update U before the "
        "round: zero where one factor is common; not defined with mixed ranks. (b) ‖D − U'‖ / ‖D − U‖ after the "
        f"aggregation; what is below {SMALLEST:g} is drawn there."
    )
    title = f"{run['model']['name']}: what a round loses"
    return furnish(result, title, note, [handles[name] for name in in_order(handles)])


def _name_those_below(ax: Axes, labels: list[str]) -> None:
    """Their curves lie over each other: only their names can be distinguished."""
    if labels:
        words = textwrap.fill(f"at or below {SMALLEST:g}: {', '.join(labels)}", 44)
        ax.annotate(
            words, (0.98, SMALLEST), (0, 7), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
            fontsize=8, color="#333333",
        )  # fmt: skip


ENTRY = Entry(
    "fig_interference",
    title="Federated fine-tuning: what a round loses",
    shows="The interference of the clients' factors and what each method missed, layer by layer on the real encoder.",
    counterpart="arXiv 2502.01755v4, equations 1 and 2",
    needs=("methods",),
    make=figure,
    applies=lambda records: any(lost([run], "missed")[0] for run in records["methods"]),
)
