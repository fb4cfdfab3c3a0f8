"""Convergence on every task of the encoder."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import styled
from paper_figures.panels import convergence
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """A panel a task."""
    note = "Each method at its own learning rate, chosen on validation text."
    return convergence.figure(records["encoder_tasks"], "convergence by task", note)


ENTRY = Entry(
    "fig_encoder_tasks",
    title="The packaged encoder: convergence by task",
    shows="The metric that counts against rounds on every task of the encoder.",
    counterpart="arXiv 2502.01755v4, Figure 3; arXiv 2409.02346, Figure 2",
    needs=("encoder_tasks",),
    make=figure,
)
