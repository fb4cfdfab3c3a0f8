"""Accuracy against the number of adapted matrices."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.panels import studied_settings
from paper_figures.records.sources import Records


def figure(records: Records) -> Figure:
    """Return the final metric for every choice of layers, upper layers first."""
    note = "Matrices of the upper layers are adapted first. Each method at its own learning rate."
    return studied_settings.figure(records, "layer_budgets", "how many parameters are fine-tuned", note)


ENTRY = Entry(
    "fig_layer_budgets",
    title="Federated fine-tuning: budgets of parameters",
    shows="The final metric for growing numbers of adapted matrices.",
    counterpart="arXiv 2502.01755v4, Figure 4; arXiv 2409.02346, Figure 1",
    needs=("layer_budgets",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "layer_budgets")),
)
