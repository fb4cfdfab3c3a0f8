"""Printed: Dirichlet label skew, and what was run here."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import printed_accuracies

ENTRY = Entry(
    "tab_paper_label_skew",
    title="Printed: Dirichlet label skew, and what was run here",
    shows="The paper's numbers with how far each can be trusted, and below each line what was run here.",
    counterpart="arXiv 2502.01755v4, Table 2",
    make=printed_accuracies.label_skew,
)
