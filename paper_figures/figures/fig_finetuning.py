"""Federated fine-tuning: accuracy of the aggregated model against rounds, one panel a number of clients."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import curves, describe, groups, has_isolated, measured
from paper_figures.drawing.style import count_note, furnish, grid, in_order, letter, plot_seeds, share_heights, styled
from paper_figures.records.sources import Records

COLUMNS = 3


@styled
def figure(records: Records) -> Figure:
    """Isolated clients only; the dashed grey line is the majority-class baseline on the test set."""
    found = [group for group in groups(records["finetuning"]) if group.client_state == "isolated"]
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    result, axes = grid(rows, columns, height=2.6 * rows, width=max(5.0, 2.6 * columns))
    seeds, handles = [], {}
    for index, (ax, group) in enumerate(zip(axes.flat, found, strict=False)):
        counts = {len(runs) for runs in group.runs.values()}
        for name, runs in group.runs.items():
            rounds, accuracies = curves(runs)
            handles[name] = plot_seeds(ax, name, rounds, accuracies, markevery=1)
        majority = group.any_run["data"]["majority_rate"]
        line = ax.axhline(majority, color="#777777", linestyle="--", linewidth=1, label="majority class")
        seeds += counts
        plural = "" if counts == {1} else "s"
        letter(ax, index, f"{group.title}, {'–'.join(str(count) for count in sorted(counts))} seed{plural}")
        ax.set_xlabel("communication rounds")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if index % columns == 0:
            ax.set_ylabel(measured(group.any_run))
    share_heights(axes.flat[: len(found)])  # the number of rounds may not be compared
    for ax in axes.flat[len(found) :]:
        ax.remove()
    note = f"{describe(found[0].any_run)}. Curves: {count_note(seeds)}. Each panel has its own number of rounds."
    title = f"{found[0].any_run['model']['name']}: accuracy of the aggregated model"
    return furnish(result, title, note, [*(handles[name] for name in in_order(handles)), line])


ENTRY = Entry(
    "fig_finetuning",
    title="Federated fine-tuning: accuracy against rounds",
    shows="Accuracy of the aggregated model for growing numbers of isolated clients, with the majority-class baseline.",
    counterpart="arXiv 2502.01755v4, Table 1 and Figure 3",
    needs=("finetuning",),
    make=figure,
    applies=lambda records: has_isolated(records["finetuning"]),
)
