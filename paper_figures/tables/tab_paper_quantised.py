"""Printed: quantised backbones, and what was run here."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import printed_accuracies

ENTRY = Entry(
    "tab_paper_quantised",
    title="Printed: quantised backbones, and what was run here",
    shows="The paper's numbers, and below each line what was run here.",
    counterpart="arXiv 2409.02346, Table 8",
    make=printed_accuracies.quantised,
)
