"""Checks of the papers' printed numbers by arithmetic alone, without a run."""

from __future__ import annotations

from typing import Any

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.table import Table, number
from paper_figures.records.sources import Records
from rolora.keys import Key
from theory.verification import registry

AUDITS = "audit-"
"""The first letters of the ids of claims about printed digits."""

COLUMNS = ("check", "statement", "source", "printed", "recomputed", "where", "comparisons", "verdict", "control")


def table(records: Records) -> Table:
    """One row a check, computed anew from the file of printed numbers."""
    made: list[tuple[Any, ...]] = []
    marks = []
    for claim in [registry.load(name) for name in registry.names() if name.startswith(AUDITS)]:
        found, control = claim.check(Key(0)), claim.control(Key(0))
        marks.append(found.verdict)
        made.append(
            (
                claim.id, claim.statement, claim.source, number(found.measured, 6), number(found.predicted, 6), found.where,
                str(found.instances), found.verdict, control.verdict,
            )
        )  # fmt: skip
    notes = (
        "Printed and recomputed at the worst comparison of each check. A check is refuted where the printed numbers contradict "
        "each other beyond their last digit: which of them is meant cannot be told from the digits, and nothing follows for the "
        "runs behind them. Control: the same check where it must fail, for instance with another method's cells; a control that "
        "is not refuted would mean that the check sees nothing.",
    )
    return Table(
        "Arithmetic of the papers' printed numbers",
        COLUMNS,
        tuple(made),
        notes,
        frozenset({"printed", "recomputed", "comparisons"}),
        tuple(marks),
    )


ENTRY = Entry(
    "tab_paper_arithmetic",
    title="Arithmetic of the papers' printed numbers",
    shows="What the printed digits say about each other, without a run, each check with a control.",
    counterpart="arXiv 2409.02346, Tables 1, 2, 5, 6 and 8; arXiv 2502.01755v4, Tables 1 and 2",
    make=table,
)
