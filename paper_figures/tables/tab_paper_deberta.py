"""Printed: DeBERTa-XLarge, and what was run here."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import printed_accuracies

ENTRY = Entry(
    "tab_paper_deberta",
    title="Printed: DeBERTa-XLarge, and what was run here",
    shows="The paper's numbers, and what it takes to run them.",
    counterpart="arXiv 2409.02346, Table 7",
    make=printed_accuracies.deberta,
)
