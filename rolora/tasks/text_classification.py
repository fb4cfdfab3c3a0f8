"""Labelled sentences or pairs, with text held out from all clients."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rolora.config import DataConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.tasks.sources import PACKAGED_DATA, Tables, find

__all__ = ["PACKAGED_DATA", "TextData", "load"]


@dataclass(frozen=True)
class Split:
    """Texts (one string an example, or two) and their labels, (n,) integers from 0."""

    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray
    owners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """Training text to be divided among clients, and validation and test text that no client sees."""

    name: str
    source: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    duplicates_dropped: int
    task: str = "classification"
    metrics: tuple[str, ...] = ("accuracy",)

    def describe(self) -> dict[str, object]:
        """What a record says of the data."""
        found = {
            "name": self.name,
            "source": self.source,
            "label_names": list(self.label_names),
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "duplicates_dropped": self.duplicates_dropped,
        }
        if self.task != "classification":
            return found
        counts = np.bincount(self.test.labels, minlength=len(self.label_names))
        return found | {"majority_rate": float(counts.max() / counts.sum())}


def normalised(texts: tuple[str, ...]) -> str:
    """What makes two examples the same text: letters and digits alone, case folded.

    Example:
        >>> normalised(("A  film, he said!",)) == normalised(("a film he said",))
        True
    """
    return "\x1f".join(" ".join(re.findall(r"\w+", text.casefold())) for text in texts)


def load(config: DataConfig) -> TextData:
    """Read the source, drop duplicates, and hold out what it does not hold out itself.

    Texts that are equal once case, punctuation and spacing are taken away count as one: the first is kept, so no
    training text stands in the validation or test text again. Where the source has its own validation or test rows,
    training rows that equal one of them are dropped.

    Raises:
        InputError: a missing source or column, an empty text, a label that is missing or out of range, too few rows.
    """
    tables = find(config.name)
    columns = config.text_columns or tables.columns or ("text",)
    rows = {split: _rows(tables, split, table, columns, config) for split, table in tables.splits.items()}
    names = _label_names(rows, config)
    held_out = rows.pop("test", None)
    other = rows.pop("validation", None)
    if held_out is None:
        held_out, other = other, None

    seen: set[str] = set()
    pools: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    dropped = 0
    for split, part in (("test", held_out), ("validation", other), ("train", rows["train"])):
        pools[split] = []
        for position, (texts, label) in enumerate(part or []):
            key = normalised(texts)
            dropped += key in seen
            if key not in seen:
                seen.add(key)
                pools[split].append((texts, _label_index(label, names, config, split, position)))
    train = pools["train"]
    key = Key(config.split_seed).fold("data", "split")
    for split, size in (("test", config.test_examples), ("validation", config.validation_examples)):
        if not pools[split]:
            order = key.fold(split).generator().permutation(len(train))
            if size >= len(train):
                raise InputError(
                    f"data.{split}_examples: got {size}, expected fewer than the {len(train)} distinct training texts"
                )
            pools[split] = [train[index] for index in np.sort(order[:size])]
            train = [train[index] for index in np.sort(order[size:])]
    if config.train_examples is not None:
        if config.train_examples > len(train):
            raise InputError(f"data.train_examples: got {config.train_examples}, expected at most {len(train)}")
        order = key.fold("train").generator().permutation(len(train))
        train = [train[index] for index in np.sort(order[: config.train_examples])]
    return TextData(
        name=tables.name,
        source=tables.source,
        label_names=tuple(str(name) for name in names),
        train=_split(train),
        validation=_split(pools["validation"]),
        test=_split(pools["test"]),
        duplicates_dropped=dropped,
    )


def _split(rows: list[tuple[tuple[str, ...], int]]) -> Split:
    return Split(tuple(texts for texts, _ in rows), np.array([label for _, label in rows], dtype=np.int64))


Rows = list[tuple[tuple[str, ...], object]]


def _rows(tables: Tables, split: str, table: pd.DataFrame, columns: tuple[str, ...], config: DataConfig) -> Rows:
    for field, column in (*(("text_columns", column) for column in columns), ("label_column", config.label_column)):
        if column not in table.columns:
            raise InputError(
                f"data.{field}: {config.name} ({split}) has no column {column!r}, expected one of {', '.join(map(str, table.columns))}"
            )
    wanted = table[[*columns, config.label_column]]
    missing = wanted.isna().any(axis=1).to_numpy()
    if missing.any():
        raise InputError(
            f"data.name: {config.name} ({split}), row {int(missing.argmax())}: expected text and label, one is empty"
        )
    texts = zip(*(wanted[column].astype(str) for column in columns), strict=True)
    return list(zip(texts, wanted[config.label_column].tolist(), strict=True))


def _label_names(rows: dict[str, Rows], config: DataConfig) -> list[object]:
    labels = {label for _, label in rows["train"]}
    numbers = all(isinstance(label, int) for label in labels)
    if numbers:
        return list(range(config.num_labels or max(max(labels) + 1, 2)))
    if config.num_labels is not None and config.num_labels != len(labels):
        raise InputError(
            f"data.num_labels: got {config.num_labels}, expected {len(labels)}, the labels of {config.name}"
        )
    return sorted(labels, key=str)


def _label_index(label: object, names: list[object], config: DataConfig, split: str, row: int) -> int:
    if label not in names:
        expected = (
            f"0 to {len(names) - 1}" if isinstance(names[0], int) else f"one of {', '.join(map(str, names[:10]))}"
        )
        raise InputError(f"data.label_column: {config.name} ({split}), row {row}: label {label!r}, expected {expected}")
    return names.index(label)
