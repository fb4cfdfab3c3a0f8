"""Other packages and laws."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.panels import laws

ENTRY = Entry(
    "tab_conformance_foreign",
    title="Other packages and laws",
    shows="Which law the aggregators of other packages meet, with the smallest counterexample where they do not.",
    counterpart="none",
    needs=("conformance_foreign",),
    make=laws.foreign,
)
