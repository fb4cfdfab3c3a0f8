"""Instruction tuning on Dolly."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import task_results

ENTRY = Entry(
    "tab_dolly",
    title="Instruction tuning on Dolly",
    shows="Held-out loss before and after fine-tuning, by the way the instructions are divided.",
    counterpart="none: the papers' instruction tuning is measured by benchmarks",
    needs=("dolly",),
    make=task_results.dolly,
)
