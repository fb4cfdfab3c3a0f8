"""Traffic of federated fine-tuning: accuracy against bytes, and bytes per round by part."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import Group, curves, describe, groups, has_isolated, measured, traffic
from paper_figures.drawing.style import PARTS, count_note, furnish, grid, letter, method_style, plot_seeds, styled
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """The group with the most isolated clients: accuracy against megabytes, and bytes of one client in one round."""
    isolated = [group for group in groups(records["finetuning"]) if group.client_state == "isolated"]
    group = max(isolated, key=lambda group: group.num_clients)
    result, axes = grid(1, 2, height=3.0)
    handles = _accuracy_against_traffic(axes[0, 0], group)
    letter(axes[0, 0], 0, f"all traffic, {group.title}")
    _bars(axes[0, 1], group)
    letter(axes[0, 1], 1, "one client in one round, after the first")
    patches = [
        Patch(facecolor=color, hatch=hatch, edgecolor="white", label=f"part: {part}")
        for part, (color, hatch) in PARTS.items()
    ]
    counts = [len(runs) for runs in group.runs.values()]
    note = f"{describe(group.any_run)}. Curves: {count_note(counts)}. Bytes are counted from the tensors sent."
    title = f"{group.any_run['model']['name']}: what the accuracy costs in traffic"
    return furnish(result, title, note, [*handles, *patches])


def _accuracy_against_traffic(ax: Axes, group: Group) -> list[Any]:
    handles = []
    for name, runs in group.runs.items():
        rounds, accuracies = curves(runs)
        # Traffic does not depend on the seed: shapes and rounds alone decide it.
        sent = np.concatenate([[0], np.cumsum([traffic(entry) for entry in runs[0]["rounds"]])]) / 1e6
        handles.append(plot_seeds(ax, name, [sent[done] for done in rounds], accuracies, markevery=1))
    ax.set_xlabel("megabytes sent, up and down, all clients")
    ax.set_ylabel(measured(group.any_run))
    return handles


def _bars(ax: Axes, group: Group) -> None:
    names = list(group.runs)
    for row, name in enumerate(names):
        for offset, direction in ((-0.2, "up"), (0.2, "down")):
            left = 0.0
            for part, (color, hatch) in PARTS.items():
                width = _kilobytes(group.runs[name][0], f"bytes_{direction}", part)
                bar = {"height": 0.34, "color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
                ax.barh(row + offset, width, left=left, label=f"{name} {direction} {part}", **bar)
                left += width
            ax.text(left, row + offset, f" {direction} {left:.1f}", va="center", fontsize=8)
    ax.set_yticks(range(len(names)), [method_style(name).label for name in names])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("kilobytes, mean over rounds")
    ax.set_xlim(0, ax.get_xlim()[1] * 1.22)


def _kilobytes(run: dict[str, Any], direction: str, part: str) -> float:
    # The first round sends newcomers the whole adapter; it is in panel (a), not in the mean of a usual round.
    rounds = run["rounds"][1:] or run["rounds"]
    return sum(entry[direction][part] / len(entry["clients"]) for entry in rounds) / len(rounds) / 1e3


ENTRY = Entry(
    "fig_communication",
    title="Federated fine-tuning: traffic",
    shows="Accuracy against all bytes sent, and the bytes of one client in one round by direction and part.",
    counterpart="arXiv 2502.01755v4, Figure 12; arXiv 2409.02346, Table 6",
    needs=("finetuning",),
    make=figure,
    applies=lambda records: has_isolated(records["finetuning"]),
)
