"""Accuracy against the ratio of the two factors' learning rates."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.panels import studied_settings
from paper_figures.records.sources import Records


def figure(records: Records) -> Figure:
    """Return the final metric for every ratio, a line for each rate of B."""
    note = "Every line has one learning rate of B, named in the legend. A ratio of 1 is one rate for both."
    return studied_settings.figure(records, "rate_ratios", "unequal learning rates", note)


ENTRY = Entry(
    "fig_rate_ratios",
    title="Federated fine-tuning: unequal learning rates",
    shows="The final metric against the ratio of the two factors' learning rates.",
    counterpart="arXiv 2502.01755v4, Figure 6",
    needs=("rate_ratios",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "rate_ratios")),
)
