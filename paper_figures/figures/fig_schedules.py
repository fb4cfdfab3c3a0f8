"""Accuracy against the share of rounds that train A: mixtures of FFA-LoRA's rounds with RoLoRA's, and other schedules."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.panels import studied_settings
from paper_figures.records.sources import Records


def figure(records: Records) -> Figure:
    """Return the final metric for every schedule, FFA-LoRA on the left."""
    note = (
        "B: a round that trains B alone, A: one that trains A alone, repeated to the end. RoLoRA is BA; 10 % of A is a fifth of "
        "RoLoRA's rounds among four fifths of FFA-LoRA's; \"both\": a method that trains and sends both in every round."
    )
    return studied_settings.figure(records, "schedules", "schedules of the two factors", note)


ENTRY = Entry(
    "fig_schedules",
    title="Federated fine-tuning: schedules of the factors",
    shows="The final metric for mixtures of RoLoRA's rounds with FFA-LoRA's and for other schedules of the two factors.",
    counterpart="arXiv 2502.01755v4, Figure 5",
    needs=("schedules",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "schedules")),
)
