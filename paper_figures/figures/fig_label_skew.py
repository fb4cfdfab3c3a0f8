"""Accuracy against label skew: Dirichlet shares of labels, few labels a client, and equal shares."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.panels import studied_settings
from paper_figures.records.sources import Records


def figure(records: Records) -> Figure:
    """Return the final metric for every partition."""
    note = (
        "Labels of the clients' training text are drawn from Dirichlet(α) shares; a test text is the same for all. "
        "Each method at its own learning rate."
    )
    return studied_settings.figure(records, "label_skew", "what label skew costs", note)


ENTRY = Entry(
    "fig_label_skew",
    title="Federated fine-tuning: label skew",
    shows="The final metric for Dirichlet shares of labels, for clients with few labels, and for equal shares.",
    counterpart="arXiv 2502.01755v4, Table 2",
    needs=("label_skew",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "label_skew")),
)
