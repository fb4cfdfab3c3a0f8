"""Time of a client's step by engine and kind of operation."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paper_figures.analysis.engines import label, machine
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import furnish, grid, styled
from paper_figures.records.sources import Records

KINDS = {
    "backbone products": "#0072B2",
    "adapter products": "#56B4E9",
    "head products": "#004B7A",
    "attention": "#009E73",
    "normalisation and activation": "#E69F00",
    "optimiser": "#CC79A7",
    "data and padding": "#8C6D1F",
    "state in and out": "#B03060",
    "other operations": "#BBBBBB",
    "between operations": "#666666",
}
"""Kind of operation -> colour, in the order of the bars."""


@styled
def figure(records: Records) -> Figure:
    """Milliseconds a local step, stacked by kind, a bar an engine."""
    record = records["profile"]
    result, axes = grid(1, 1, height=0.7 + 0.55 * len(record["engines"]))
    ax = axes[0, 0]
    for row, (_, found) in enumerate(record["engines"].items()):
        left = 0.0
        for kind, color in KINDS.items():
            width = 1e3 * found["seconds"].get(kind, 0.0)
            ax.barh(row, width, left=left, color=color, height=0.62, label=kind)
            left += width
        ax.text(left, row, f"  {left:.1f} ms", va="center", fontsize=8)
    ax.set_yticks(range(len(record["engines"])), [label(name) for name in record["engines"]])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0, ax.get_xlim()[1] * 1.12)
    ax.set_xlabel("milliseconds a local step, under the profiler")
    drawn = {
        kind: color for kind, color in KINDS.items() if any(kind in e["seconds"] for e in record["engines"].values())
    }
    config = next(iter(record["engines"].values()))["config"]
    note = (
        f"{config['model']['name']}, {config['federation']['num_clients']} clients, {config['training']['batch_size']} x "
        f"{config['model']['max_length']} tokens, {config['runtime']['threads']} threads; {machine(record)}. Between operations: "
        "Python, and what the profiler itself costs."
    )
    return furnish(
        result,
        "Where the time of a client's step goes",
        note,
        [Patch(color=c, label=_short(k)) for k, c in drawn.items()],
    )


def _short(kind: str) -> str:
    """As the legend has room for."""
    return (
        kind.replace("normalisation and", "norm,").replace("backbone products", "backbone").replace("operations", "ops")
    )


ENTRY = Entry(
    "fig_profile",
    title="The training engines: where the time goes",
    shows="A client's step by kind of operation, before and after batching.",
    counterpart="none",
    needs=("profile",),
    make=figure,
)
