"""Printed by the papers for 3, 20 and 50 clients, and what was run here."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import printed_accuracies

ENTRY = Entry(
    "tab_paper_table1",
    title="Printed by the papers, and what was run here",
    shows="The papers' numbers for 3, 20 and 50 clients with how far each can be trusted, beside what was run here.",
    counterpart="arXiv 2502.01755v4, Table 1; arXiv 2409.02346, Table 2",
    uses=("finetuning",),
    make=printed_accuracies.clients,
)
