"""What can be checked in the papers' printed numbers by arithmetic alone, without a run."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from paper_figures.drawing.table import Table, number
from paper_figures.records.sources import Records
from rolora.keys import Key
from theory import claims
from theory.verification.claim import Claim

AUDITS = "audit_"
COLUMNS = ("check", "statement", "source", "printed", "recomputed", "where", "comparisons", "verdict", "control")


def audits() -> Iterator[Claim]:
    """The claims about printed digits, by name."""
    for found in sorted(pkgutil.iter_modules(claims.__path__), key=lambda module: module.name):
        if found.name.startswith(AUDITS):
            yield importlib.import_module(f"{claims.__name__}.{found.name}").CLAIM


def table(records: Records) -> Table:
    """One row a check, computed anew from the file of printed numbers."""
    made: list[tuple[Any, ...]] = []
    marks = []
    for claim in audits():
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
