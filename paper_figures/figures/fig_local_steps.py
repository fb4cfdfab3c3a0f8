"""Accuracy against local steps, at equal rounds and at equal total local steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.panels import studied_settings
from paper_figures.records.sources import Records


def figure(records: Records) -> Figure:
    """Return the final metric for every number of local steps."""
    note = (
        "At equal rounds more local steps are also more computing; at equal total local steps they are fewer rounds and less "
        "traffic. Each method at its own learning rate."
    )
    return studied_settings.figure(records, "local_steps", "local steps", note)


ENTRY = Entry(
    "fig_local_steps",
    title="Federated fine-tuning: local steps",
    shows="The final metric for 1 to 40 local steps, at equal rounds and at equal total local steps.",
    counterpart="arXiv 2502.01755v4, Table 4",
    needs=("local_steps",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "local_steps")),
)
