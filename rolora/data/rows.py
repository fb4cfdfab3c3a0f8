"""The texts and labels of a split, taken from its table, each row with a name that an error can call it by."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rolora.config import DataConfig
from rolora.data.sources import Tables
from rolora.data.tasks.base import Form, KnownTask
from rolora.errors import InputError


@dataclass(frozen=True)
class Rows:
    """Texts (one string a row, or two) and labels as the source has them.

    ``place`` names the file or the hub's split, ``index`` the line (or item, or row) of each row.
    """

    place: str
    index: pd.Index
    label_column: str
    texts: list[tuple[str, ...]]
    labels: list[Any]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, position: int) -> str:
        """Return the place of a label."""
        return at(self.place, self.index, position, self.label_column)


def at(place: str, index: pd.Index, position: int, column: str) -> str:
    """Return the place of a value: file, line and column."""
    return f"{place}, {index.name or 'row'} {index[position]}, column {column!r}"


def choose(tables: Tables, split: str, config: DataConfig, benchmark: KnownTask | None = None) -> Rows:
    """The rows of a split under the columns that the config, the benchmark or the source names, in this order.

    Raises:
        InputError: a column that is not there, a text that is empty or no text, a label that is missing.
    """
    table, place = tables.splits[split], tables.place(split)
    form = _form(table, tables, config, benchmark)
    for key, column in (*(("text_columns", name) for name in form.text_columns), ("label_column", form.label_column)):
        if column not in table.columns:
            raise InputError(f"data.{key}: {place}: no column {column!r}, {hint(column, list(table.columns))}")
    columns = [table[column].tolist() for column in form.text_columns]
    labels = table[form.label_column].tolist()
    kept = range(len(labels))
    if benchmark is not None and benchmark.cut_rows:
        kept = [row for row in kept if not missing(labels[row]) and not any(blank(values[row]) for values in columns)]
    for name, values in zip(form.text_columns, columns, strict=True):
        _check_texts(name, values, kept, place, table.index)
    for row in kept:
        if missing(labels[row]):
            where = at(place, table.index, row, form.label_column)
            raise InputError(f"data.label_column: {where}: the label is missing, expected one in every row")
    return Rows(
        place=place,
        index=table.index[list(kept)],
        label_column=form.label_column,
        texts=[tuple(values[row] for values in columns) for row in kept],
        labels=[labels[row] for row in kept],
        cut=len(labels) - len(kept),
    )


def _form(table: pd.DataFrame, tables: Tables, config: DataConfig, benchmark: KnownTask | None) -> Form:
    known = Form(tables.columns or ("text",))
    if benchmark is not None:
        fitting = (form for form in benchmark.forms if set(form.columns) <= set(table.columns))
        known = next(fitting, benchmark.forms[0])
    default = type(config).model_fields["label_column"].default  # a record's config says the default too
    label_column = known.label_column if config.label_column == default else config.label_column
    return Form(config.text_columns or known.text_columns, label_column)


def hint(column: str, columns: list[Any]) -> str:
    names = [str(name) for name in columns]
    close = difflib.get_close_matches(column, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if len(names) == 1 and (marks := [mark for mark in (";", "\t", ",", "|") if mark in names[0]]):
        hint = f"; is it separated by {marks[0]!r}? A CSV has commas, a TSV has tabs"
    return f"expected one of {', '.join(repr(name) for name in names)}{hint}"


def _check_texts(name: str, values: Sequence[Any], kept: Sequence[int], place: str, index: pd.Index) -> None:
    for row in kept:
        if not isinstance(values[row], str) and not missing(values[row]):
            where = at(place, index, row, name)
            raise InputError(f"data.text_columns: {where}: got {values[row]!r}, expected a text in quotes")
        if blank(values[row]):
            raise InputError(
                f"data.text_columns: {at(place, index, row, name)}: the text is empty, expected one in every row"
            )


def missing(value: Any) -> bool:
    """None, NaN, or an empty string.

    Example:
        >>> [missing(value) for value in (None, float("nan"), " ", "None", "NA", 0)]
        [True, True, True, False, False, False]
    """
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def blank(value: Any) -> bool:
    """Return whether a value has no text."""
    return not isinstance(value, str) or not value.strip()
