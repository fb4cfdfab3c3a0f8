"""The declaration of a figure or table: what it shows, which panel of which paper it answers, and the records it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from paper_figures.records.sources import Records


@dataclass(frozen=True)
class Entry:
    """One figure or table; its file declares it as ``ENTRY``.

    Args:
        id: the name of its file, ``fig_...`` or ``tab_...``.
        title: a few words.
        shows: one or two sentences.
        counterpart: panel of a paper that it answers, or "none".
        make: records -> ``matplotlib.figure.Figure`` or :class:`paper_figures.drawing.table.Table`.
        needs: kinds of record, all of them required; a table of printed numbers needs none.
        uses: kinds of record that are shown if they are there.
        applies: returns True if records of the right kind hold what is drawn.
        question: the id of a question of :mod:`paper_figures.analysis.questions`, or one in words; by default that of ``needs``.
    """

    id: str
    title: str
    shows: str
    counterpart: str
    make: Callable[[Records], Any]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    applies: Callable[[Records], bool] = lambda records: True
    question: str = ""

    @property
    def kind(self) -> Literal["figure", "table"]:
        """Figure or table, by the first letters of its id."""
        return "figure" if self.id.startswith("fig_") else "table"

    @property
    def module(self) -> str:
        """The module that declares it."""
        return f"paper_figures.{self.kind}s.{self.id}"

    def available(self, records: Records) -> bool:
        """Return True if it can be made from these records."""
        return not records.missing(self.needs) and self.applies(records)
