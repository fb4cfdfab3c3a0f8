"""Instruction tuning: held-out loss against rounds, a panel for each way to divide the same instructions."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import styled
from paper_figures.panels import convergence
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """A panel a partition."""
    note = "Loss: mean negative log-likelihood of a token of the held-out responses, in nats; lower is better."
    return convergence.figure(records["dolly"], "instruction tuning on Dolly", note)


ENTRY = Entry(
    "fig_dolly",
    title="Instruction tuning: loss against rounds",
    shows="Held-out loss of the packaged decoder on Dolly, a panel for each way to divide the same instructions.",
    counterpart="none: the papers' instruction tuning is measured by benchmarks",
    needs=("dolly",),
    make=figure,
)
