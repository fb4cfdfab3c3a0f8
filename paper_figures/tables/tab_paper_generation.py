"""Printed: HumanEval and MMLU, and what was run here."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import printed_benchmarks

ENTRY = Entry(
    "tab_paper_generation",
    title="Printed: HumanEval and MMLU, and what was run here",
    shows="The paper's numbers, all of them unverified, and below each line what a small decoder reached here.",
    counterpart="arXiv 2502.01755v4, HumanEval and MMLU",
    make=printed_benchmarks.generation,
)
