"""Trust in printed numbers: the tags in a figure, a table or a source, and their meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable

from matplotlib.figure import Figure
from matplotlib.text import Text

from paper_figures.drawing.table import Table
from theory.printed_numbers import load

LETTERS = re.compile(r"\[([VSCM])\]")

PHRASES = {
    "V": ("read in the paper",),
    "S": ("quoted by a third party", "quoted elsewhere"),
    "C": ("supplementary code",),
    "M": ("unverified", "recalled"),
}
"""Tag -> what stands in its place where a sentence has room."""


def words() -> dict[str, str]:
    """Tag -> what it means, as the file of printed numbers says it."""
    return dict(load()["trust"])


def named(texts: Iterable[str]) -> tuple[str, ...]:
    """The tags that texts say in words.

    Example:
        >>> named(["arXiv 2409.02346, Table 1 (read in the paper)", "Theorem 4.5 (constants recalled; unverified)"])
        ('V', 'M')
    """
    said = "\n".join(texts)
    return tuple(tag for tag, phrases in PHRASES.items() if any(phrase in said for phrase in phrases))


def in_figure(figure: Figure) -> tuple[str, ...]:
    """The tags that are written into a figure, as [S]; empty if it shows nobody else's number."""
    said = " ".join(text.get_text() for text in figure.findobj(Text))
    return _sorted(LETTERS.findall(said))


def in_table(table: Table) -> tuple[str, ...]:
    """The tags of a table: letters in brackets anywhere, and words in its columns on trust and sources."""
    columns = [place for place, name in enumerate(table.columns) if "trust" in name.lower() or name == "source"]
    letters = LETTERS.findall(" ".join([*table.notes, *(cell for row in table.rows for cell in row)]))
    return _sorted([*letters, *named(row[place] for row in table.rows for place in columns)])


def _sorted(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(tags), key=list(PHRASES).index))
