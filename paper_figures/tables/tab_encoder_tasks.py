"""The packaged encoder, task by task."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import task_results

ENTRY = Entry(
    "tab_encoder_tasks",
    title="The packaged encoder, task by task",
    shows="Final metric, what it started from, traffic and time on every task of the encoder.",
    counterpart="arXiv 2502.01755v4, Tables 1 and 2",
    needs=("encoder_tasks",),
    make=task_results.encoder,
)
