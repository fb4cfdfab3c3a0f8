"""Every method against every law of aggregation and of engines."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import laws

ENTRY = Entry(
    "tab_conformance",
    title="Methods and laws",
    shows="Which law every method meets, and why not where it does not.",
    counterpart="none",
    needs=("conformance",),
    make=laws.methods,
)
