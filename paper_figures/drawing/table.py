"""A table as rows of text, and the two forms in which it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns.

    Args:
        title: one line.
        columns: their names.
        rows: one text a column.
        notes: sentences below the table.
        numeric: names of the columns that are set to the right.
        marks: a short word for each row that a report colours and filters by, or empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    numeric: frozenset[str] = frozenset()
    marks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row has {len(row)} cells, expected {len(self.columns)}")

    def select(self, columns: Sequence[str]) -> Table:
        """Return the same rows with some of the columns, in the order given."""
        places = [self.columns.index(name) for name in columns]
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return Table(self.title, tuple(columns), rows, self.notes, self.numeric, self.marks)

    def to_markdown(self) -> str:
        r"""GitHub's table syntax.

        Example:
            >>> print(Table("t", ("a", "b"), (("x|y", "1"),), numeric=frozenset({"b"})).to_markdown())
            | a | b |
            | :-- | --: |
            | x\|y | 1 |
            <BLANKLINE>
        """
        lines = [_line(self.columns), _line(["--:" if name in self.numeric else ":--" for name in self.columns])]
        lines += [_line([_markdown(cell) for cell in row]) for row in self.rows]
        text = "\n".join(lines) + "\n"
        return text + "".join(f"\n{_markdown(note)}\n" for note in self.notes)

    def to_html(self) -> str:
        """A ``<table>`` with its notes; every text is escaped."""
        heads = "".join(f'<th scope="col"{self._align(name)}>{escape(name)}</th>' for name in self.columns)
        body = "\n".join(self._html_row(index, row) for index, row in enumerate(self.rows))
        notes = "".join(f'<p class="note">{escape(note)}</p>\n' for note in self.notes)
        return (
            f'<div class="scroll"><table>\n<caption>{escape(self.title)}</caption>\n'
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n{notes}"
        )

    def _html_row(self, index: int, row: Sequence[str]) -> str:
        mark = f' data-mark="{escape(self.marks[index], quote=True)}"' if self.marks else ""
        cells = "".join(
            f'<td data-column="{escape(name, quote=True)}"{self._align(name)}>{escape(cell)}</td>'
            for name, cell in zip(self.columns, row, strict=True)
        )
        return f"<tr{mark}>{cells}</tr>"

    def _align(self, name: str) -> str:
        return ' class="number"' if name in self.numeric else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown(text: str) -> str:
    # Characters that Markdown would take for its own; * and _ stand in formulas such as a* and b_i.
    text = escape(text, quote=False)
    for character in ("\\", "|", "*", "_", "`", "$"):
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash where there is none.

    Example:
        >>> number(0.000012345), number(3.0), number(None)
        ('1.23e-05', '3', '–')
    """
    return "–" if value is None else f"{value:.{digits}g}"
