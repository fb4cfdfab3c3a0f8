"""Prompts and responses for a causal model: instructions, questions, dialogues; any rows with a prompt and a response."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rolora.config import DataConfig
from rolora.data.classification import Split, TextData
from rolora.data.rows import at, hint
from rolora.data.sources import Tables, find
from rolora.data.splits import Pool, distinct, hold_out
from rolora.errors import InputError

FORMS = {
    "dolly": (("instruction", "context"), "response"),
    "alpaca": (("instruction", "input"), "output"),
    "gsm8k": (("question",), "answer"),
    "prompt": (("prompt",), "response"),
}
"""Columns by which a known form is recognised where the config names none: prompt, response.

Dolly: databricks-dolly-15k (2023); Alpaca: Stanford Alpaca (2023), and Code Alpaca; GSM8K: Cobbe et al. 2021.
"""


def load(config: DataConfig) -> TextData:
    """Read the source, drop prompts that were met before, and hold out what it does not hold out itself.

    The label column, if the rows have it, is what partitions by label go by (Dolly's ``category``).

    Raises:
        InputError: a missing source or column, an empty prompt or response, too few rows.
    """
    tables = find(config.name)
    prompt, response = columns_of(tables, config)
    by_split = {split: _rows(tables, split, prompt, response, config) for split in tables.splits}
    pools, dropped, _ = distinct(by_split)
    train, validation, test = hold_out(pools, config)
    names = sorted({label for part in (train, validation, test) for _, (_, label, _) in part})
    return TextData(
        name=tables.name,
        source=tables.source,
        label_names=tuple(names),
        train=_split(train, names),
        validation=_split(validation, names),
        test=_split(test, names),
        duplicates_dropped=dropped,
        task="generation",
        metrics=("loss",),
    )


def columns_of(tables: Tables, config: DataConfig) -> tuple[tuple[str, ...], str]:
    """The prompt's columns and the response's: those that the config names, or those of a known form.

    Raises:
        InputError: the rows have none of the known forms, and the config does not say.
    """
    have = list(tables.splits["train"].columns)
    if config.text_columns is not None:
        return config.text_columns, config.response_column
    for prompt, response in FORMS.values():
        if {*prompt, response} <= set(have):
            return prompt, response
    known = "; ".join(f"{', '.join(prompt)} and {response}" for prompt, response in FORMS.values())
    raise InputError(
        f"data.text_columns: {config.name} has the columns {', '.join(map(str, have))}, expected data.text_columns and "
        f"data.response_column, or columns of a known form ({known})"
    )


def _rows(tables: Tables, split: str, prompt: tuple[str, ...], response: str, config: DataConfig) -> Pool:
    """((prompt parts), (response, label, owner)) of every row; only the first part of a prompt must be there."""
    table, place = tables.splits[split], tables.place(split)
    asked = [("text_columns", column) for column in prompt] + [("response_column", response)]
    if config.client_column is not None and split == "train":
        asked.append(("client_column", config.client_column))
    for field, column in asked:
        if column not in table.columns:
            raise InputError(f"data.{field}: {place}: no column {column!r}, {hint(column, list(table.columns))}")
    texts = {column: _text(table[column]) for column in (*prompt, response)}
    for column in (prompt[0], response):
        empty = next((row for row, text in enumerate(texts[column]) if not text.strip()), None)
        if empty is not None:
            raise InputError(
                f"data.name: {at(place, table.index, empty, column)}: the text is empty, expected one in every row"
            )
    label = next((column for column in (config.label_column, "category") if column in table.columns), None)
    labels = _text(table[label]) if label else [""] * len(table)
    owners = _text(table[config.client_column]) if config.client_column in table.columns else [""] * len(table)
    parts = zip(*(texts[column] for column in prompt), strict=True)
    return list(zip(parts, zip(texts[response], labels, owners, strict=True), strict=True))


def _text(column: pd.Series) -> list[str]:
    return ["" if value is None or value != value else str(value) for value in column.tolist()]


def _split(rows: Pool, names: list[str]) -> Split:
    places: Mapping[str, int] = {name: index for index, name in enumerate(names)}
    return Split(
        texts=tuple((*prompt, response) for prompt, (response, _, _) in rows),
        labels=np.array([places[label] for _, (_, label, _) in rows], dtype=np.int64),
        owners=np.array([owner for _, (_, _, owner) in rows]),
    )
