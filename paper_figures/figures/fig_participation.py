"""Accuracy against the number of clients that take part in a round, at equal rounds and at equal total local steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.panels import studied_settings
from paper_figures.records.sources import Records


def figure(records: Records) -> Figure:
    """Return the final metric for every number of clients in a round."""
    note = (
        "Clients of a round are drawn at random, the same ones for all methods. Each method at its own learning rate."
    )
    return studied_settings.figure(records, "participation", "clients that come and go", note)


ENTRY = Entry(
    "fig_participation",
    title="Federated fine-tuning: clients that come and go",
    shows="The final metric for different numbers of clients in a round, at equal rounds and at equal total local steps.",
    counterpart="arXiv 2502.01755v4, appendix (no number of it was found)",
    needs=("participation",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "participation")),
)
