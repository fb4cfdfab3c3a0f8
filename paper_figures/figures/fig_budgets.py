"""Accuracy at equal rounds, equal total local steps and equal bytes, a row for each number of clients."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import Group, describe, groups
from paper_figures.drawing.style import count_note, furnish, grid, in_order, letter, plot_seeds, styled
from paper_figures.records.sources import Records

BUDGETS = {
    "rounds": lambda run: list(range(len(run["rounds"]) + 1)),
    "total local steps": outcomes.total_local_steps,
    "megabytes sent, all clients": outcomes.megabytes,
}
"""Axis label -> amount that a run has used after 0, 1, 2 ... rounds."""


def _isolated(records: Records) -> list[Group]:
    return [group for group in groups(records["finetuning"]) if group.client_state == "isolated"]


def applies(records: Records) -> bool:
    """Return True if there are isolated clients."""
    return bool(_isolated(records))


@styled
def figure(records: Records) -> Figure:
    """Return accuracy against rounds, total local steps and bytes."""
    isolated = _isolated(records)
    result, axes = grid(len(isolated), len(BUDGETS), height=2.1 * len(isolated))
    handles, counts = {}, []
    for row, group in enumerate(isolated):
        for column, (name, spent) in enumerate(BUDGETS.items()):
            ax = axes[row, column]
            for method, runs in group.runs.items():
                rounds, values, split = outcomes.curves(runs)
                places = spent(runs[0])  # shapes, rounds and steps decide it, not the seed
                handles[method] = plot_seeds(ax, method, [places[done] for done in rounds], values)
                counts.append(len(runs))
            letter(ax, row * len(BUDGETS) + column, group.title)
            ax.set_xlabel(name)
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            if column == 0:
                ax.set_ylabel(f"{split} {outcomes.metric(group.any_run)}")
        low = min(ax.get_ylim()[0] for ax in axes[row])
        high = max(ax.get_ylim()[1] for ax in axes[row])
        for ax in axes[row]:
            ax.set_ylim(low, high)
    note = (
        f"{describe(isolated[0].any_run)}. Curves: {count_note(counts)}. Total local steps: the optimiser steps of all clients "
        "together. Bytes are counted from the tensors sent, the first broadcast included."
    )
    title = f"{isolated[0].any_run['model']['name']}: equal rounds, equal total local steps, equal bytes"
    return furnish(result, title, note, [handles[name] for name in in_order(handles)])


ENTRY = Entry(
    "fig_budgets",
    title="Federated fine-tuning: equal rounds, total local steps, bytes",
    shows=(
        "The same curves against rounds, against the optimiser steps of all clients and against all bytes sent, for growing "
        "numbers of isolated clients."
    ),
    counterpart="arXiv 2502.01755v4, Figures 3 and 12",
    needs=("finetuning",),
    make=figure,
    applies=applies,
)
