"""The two papers' printed numbers, as strings with their trust, and arithmetic on them.

The numbers lie in ``data/printed_numbers.json``. They are the best over rounds and learning rates on the evaluation data, so
a number that this project measures is never compared with them here: the audits compare printed numbers with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rolora.errors import InputError
from rolora.records import read_json

PRINTED_NUMBERS = Path(__file__).resolve().parent / "data" / "printed_numbers.json"
"""The file of printed numbers."""

TASKS = ("SST-2", "QNLI", "MNLI", "QQP", "RTE")
"""The five tasks that an average is taken over, in the papers' order."""
AVERAGE = "average of SST-2, QNLI, MNLI, QQP, RTE"
"""What the averages are called in the file."""
RANKS = (8, 4, 2, 1)
"""The ranks of arXiv 2409.02346, Table 1."""
METHODS = ("fedavg-lora", "ffa-lora", "rolora")
"""The methods of its tables."""


@dataclass(frozen=True)
class Number:
    """One printed number.

    Args:
        text: as printed.
        deviation: the standard deviation printed behind it, or None.
        trust: V read in the paper, S quoted by a third party, C read in the authors' code, M from memory.
        where: table, clients, method and what it is a number of.

    Example:
        >>> Number("82.60", "1.03", "V", "").resolution, Number("125", None, "V", "").resolution
        (0.01, 1.0)
    """

    text: str
    deviation: str | None
    trust: str
    where: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def spread(self) -> float:
        """The printed standard deviation, nan where there is none."""
        return float("nan") if self.deviation is None else float(self.deviation)

    @property
    def resolution(self) -> float:
        """One unit of the last printed digit; a number that was rounded to it is known to half of this."""
        return 10.0 ** -len(self.text.partition(".")[2])


@dataclass(frozen=True)
class Row:
    """The numbers that one method has in one line of a table, by what they are numbers of."""

    table: str
    clients: int | None
    method: str
    cells: dict[str, Number]
    setting: dict[str, Any]


@lru_cache
def load() -> dict[str, Any]:
    """The file as it is: ``note``, ``trust``, ``tables``, ``numbers``, ``settings``."""
    return read_json(PRINTED_NUMBERS)


@lru_cache
def rows() -> tuple[Row, ...]:
    """All lines of all tables.

    Raises:
        InputError: a line has more or fewer numbers than names.

    Example:
        >>> rows()[0].cells[AVERAGE].text
        '88.20'
    """
    lines = []
    for entry in load()["numbers"]:
        axis = entry.get("backbone", entry["metric"])
        names, texts = axis.split(" / "), entry["value"].split(" / ")
        deviations = entry["deviation"].split(" / ") if "deviation" in entry else [None] * len(texts)
        if not len(names) == len(texts) == len(deviations):
            raise InputError(f"{PRINTED_NUMBERS}: {entry} has {len(texts)} numbers, expected {len(names)} ({axis})")
        clients = f"{entry['clients']} clients, " if entry["clients"] else ""
        place = f"{entry['table']}, {clients}{entry['method']}"
        cells = {
            name: Number(text, deviation, entry["trust"], f"{place}, {name}")
            for name, text, deviation in zip(names, texts, deviations, strict=True)
        }
        setting = {key: value for key, value in entry.items() if key not in ("value", "deviation")}
        lines.append(Row(entry["table"], entry["clients"], entry["method"], cells, setting))
    return tuple(lines)


def number(table: str, method: str, name: str, clients: int | None = None) -> Number:
    """One number by its place.

    Args:
        table: as in the file, ``P2-1-r4`` for arXiv 2409.02346, Table 1, rank 4.
        method: a method's name.
        name: a task, ``AVERAGE``, or what the line calls it.
        clients: needed where a table has several numbers of clients.

    Raises:
        InputError: there is none, or more than one.

    Example:
        >>> number("P2-1-r4", "ffa-lora", AVERAGE).text
        '87.48'
    """
    matches = [
        row.cells[name]
        for row in rows()
        if (row.table, row.method) == (table, method) and name in row.cells and clients in (None, row.clients)
    ]
    if len(matches) != 1:
        raise InputError(f"{PRINTED_NUMBERS} has {len(matches)} numbers for {table}, {method}, {name}, expected one")
    return matches[0]


def accuracies() -> tuple[tuple[str, Number], ...]:
    """Every printed accuracy of one task, with the task.

    Example:
        >>> {task for task, _ in accuracies()} == set(TASKS)
        True
    """
    tagged = []
    for row in rows():
        if "unit" in row.setting:
            continue
        if row.setting["metric"] in TASKS:
            tagged += [(row.setting["metric"], cell) for cell in row.cells.values()]
        else:
            tagged += [(name, cell) for name, cell in row.cells.items() if name in TASKS]
    return tuple(tagged)


def mean_of_cells(table: str, method: str) -> tuple[float, float]:
    """The mean of a line's five accuracies, and its standard deviation if the five are independent.

    Example:
        >>> [round(value, 3) for value in mean_of_cells("P2-1-r4", "ffa-lora")]
        [87.542, 0.114]
    """
    cells = [number(table, method, task) for task in TASKS]
    spread = np.sqrt(np.sum([cell.spread**2 for cell in cells])) / len(cells)
    return float(np.mean([cell.value for cell in cells])), float(spread)


def modules(budget: int, task: str) -> int:
    """Return the number of adapted weight matrices: layers of arXiv 2409.02346, Table 5, times matrices of a layer.

    Example:
        >>> [modules(2, task) for task in TASKS]
        [12, 18, 18, 18, 16]
    """
    (entry,) = [
        entry
        for entry in load()["settings"]["layers"]
        if entry["budget"] == budget and task in entry["tasks"].split(" / ")
    ]
    return (int(entry["last"]) - int(entry["first"]) + 1) * len(entry["modules"].split(" / "))


def rounds(clients: int, task: str) -> int:
    """Return the number of communication rounds of the papers' runs.

    Example:
        >>> rounds(3, "QQP"), rounds(3, "RTE")
        (500, 200)
    """
    (entry,) = [
        entry
        for entry in load()["settings"]["rounds"]
        if entry["clients"] == clients and task in entry["tasks"].split(" / ")
    ]
    return int(entry["value"])


def constant_rate(task: str) -> float:
    """The accuracy, in per cent, of always answering the most frequent label of the validation set.

    Example:
        >>> round(constant_rate("RTE"), 4)
        52.7076
    """
    (entry,) = [entry for entry in load()["settings"]["constant_predictor"] if entry["task"] == task]
    return 100 * int(entry["most_frequent"]) / int(entry["examples"])
