"""Printed: commonsense reasoning, and what was run here."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import printed_benchmarks

ENTRY = Entry(
    "tab_paper_commonsense",
    title="Printed: commonsense reasoning, and what was run here",
    shows="The paper's numbers for Llama-2-7B, and below each line what a small decoder reached here.",
    counterpart="arXiv 2502.01755v4, commonsense reasoning",
    make=printed_benchmarks.commonsense,
)
