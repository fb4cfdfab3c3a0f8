"""Labels: classes, numbered from 0, or numbers to be predicted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from rolora.config import DataConfig
from rolora.data import metrics
from rolora.data.rows import Rows
from rolora.data.tasks.base import KnownTask
from rolora.errors import InputError

WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def plain(label: Any) -> int | float | str:
    """A label as a whole number, a decimal number or a name; a string that holds a number is that number.

    Example:
        >>> [plain(label) for label in (1, "1", " yes ", "2.5", 1.0, True, "nan")]
        [1, 1, 'yes', 2.5, 1.0, 1, 'nan']
    """
    if isinstance(label, str):
        text = label.strip()
        if WHOLE.fullmatch(text):
            return int(text)
        return float(text) if DECIMAL.fullmatch(text) else text
    if isinstance(label, (bool, int, np.integer)):
        return int(label)
    return float(label) if isinstance(label, (float, np.floating)) else str(label)


def class_names(train: Rows, config: DataConfig, benchmark: KnownTask | None = None) -> list[int] | list[str]:
    """The classes in the order of their numbers: the benchmark's, or those of the training rows.

    Whole numbers are classes from 0 to the largest (or to ``data.num_labels``); names are sorted.

    Raises:
        InputError: decimal numbers, numbers among names, another number of classes than the config says, only one class.
    """
    if benchmark is not None and benchmark.label_names is not None:
        if config.num_labels not in (None, len(benchmark.label_names)):
            raise InputError(
                f"data.num_labels: got {config.num_labels}, expected {len(benchmark.label_names)}, the benchmark's labels"
            )
        return list(benchmark.label_names)
    labels = [plain(label) for label in train.labels]
    _check_kinds(labels, train)
    found = set(labels)
    if len(found) < 2 and config.num_labels is None:
        raise InputError(
            f"data.label_column: {train.place}, column {train.label_column!r}: every label is {labels[0]!r}, expected at "
            "least two different ones"
        )
    if not isinstance(labels[0], int):
        if config.num_labels is not None and config.num_labels != len(found):
            raise InputError(
                f"data.num_labels: got {config.num_labels}, expected {len(found)}, the labels of {train.place}: {_some(sorted(found))}"
            )
        return sorted(found)
    count = config.num_labels or max(found) + 1
    if config.num_labels is None and count > max(len(labels), 2):
        raise InputError(
            f"data.label_column: {train.at(labels.index(max(found)))}: label {max(found)} makes {count:,} classes from 0 on "
            f'for {len(labels):,} rows, expected classes; for numbers that are measured set data.task = "regression"'
        )
    return list(range(max(count, 2)))


def _check_kinds(labels: list[int | float | str], rows: Rows) -> None:
    named = [isinstance(label, str) for label in labels]
    if any(named) and not all(named):
        odd = sum(named) * 2 <= len(named)  # the kind that fewer rows have
        first, other = named.index(odd), named.index(not odd)
        raise InputError(
            f"data.label_column: {rows.at(first)}: got {labels[first]!r}, but {labels[other]!r} in {rows.index.name or 'row'} "
            f"{rows.index[other]}, expected all names or all whole numbers"
        )
    for position, label in enumerate(labels):
        if isinstance(label, float):
            raise InputError(
                f"data.label_column: {rows.at(position)}: got {label}, expected a class, by whole number or name; for "
                'numbers that are measured set data.task = "regression"'
            )


def class_numbers(rows: Rows, names: list[int] | list[str], source: str) -> list[int]:
    """The number of each row's class.

    Args:
        rows: of any split.
        names: the classes; with names, their numbers are understood too.
        source: whose classes they are, for an error.

    Raises:
        InputError: the first label that is no class.
    """
    numbers: dict[int | float | str, int] = {name: number for number, name in enumerate(names)}
    numbered = isinstance(names[0], int)
    if not numbered and source == "benchmark":
        numbers |= {number: number for number in range(len(names))}
    labels = [plain(label) for label in rows.labels]
    for position, label in enumerate(labels):
        if label not in numbers or isinstance(label, float):
            expected = f"0 to {len(names) - 1}" if numbered else f"one of {_some(names)}"
            raise InputError(
                f"data.label_column: {rows.at(position)}: label {label!r}, expected {expected}, {_WHOSE[source]}"
            )
    return [numbers[label] for label in labels]


_WHOSE = {
    "benchmark": "the benchmark's labels",
    "config": "as data.num_labels says",
    "train": "the labels of the training rows",
}


def _some(names: Iterable[Any]) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")


def measured(rows: Rows) -> list[float]:
    """The numbers to be predicted.

    Raises:
        InputError: the first label that is not a finite number.
    """
    found = []
    for position, label in enumerate(rows.labels):
        number = plain(label)
        if isinstance(number, str) or isinstance(label, bool) or not math.isfinite(number):
            raise InputError(
                f'data.label_column: {rows.at(position)}: got {label!r}, expected a finite number with data.task = "regression"'
            )
        found.append(float(number))
    return found


def metric_names(config: DataConfig, benchmark: KnownTask | None, num_labels: int) -> tuple[str, ...]:
    """Return the metrics of a config, or else of its benchmark, or else of its task.

    Raises:
        InputError: a metric that is unknown, or that such labels do not have.
    """
    if config.metrics is None:
        return benchmark.metrics if benchmark is not None else metrics.DEFAULT[config.task]
    known = metrics.OF_TASK[config.task]
    for name in config.metrics:
        if name not in known:
            raise InputError(
                f'data.metrics: got {name!r}, expected one of {", ".join(known)} with task = "{config.task}"'
            )
    if "f1" in config.metrics and num_labels != 2:
        raise InputError(f"data.metrics: got 'f1' with {num_labels} labels, expected macro_f1 with other than 2")
    return tuple(dict.fromkeys(config.metrics))
