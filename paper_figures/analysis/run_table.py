"""The table of runs: one row a run, one column a setting of its config; every grouping of runs starts from it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from rolora.config import flatten
from rolora.errors import InputError

Run = dict[str, Any]

PARTITION = "federation.partition"
PARTITION_KEYS = frozenset(
    {PARTITION, "federation.dirichlet_alpha", "federation.labels_per_client", "data.client_column"}
)
"""Config keys that together say how the training text is divided; the table has their words in one column."""

WATCHING = frozenset({"evaluation.every", "evaluation.batch_size", "evaluation.interference"})
"""Config keys of how a run was watched, which make no other setting."""


def run_table(runs: Iterable[Run], **columns: Callable[[Run], Any]) -> pd.DataFrame:
    """Return one row a run, in the order given.

    Args:
        runs: records.
        columns: further columns, each computed from a run.

    Returns:
        ``algorithm``, ``seed``, ``run`` (the record), the further columns, and one column ``section.key`` a setting that a
        config has. A setting that a run lacks is None; how a run was executed and watched is left out.
    """
    rows = [
        _settings(run["config"])
        | {PARTITION: partition(run["config"]["federation"])}
        | {"algorithm": run["config"]["algorithm"], "seed": run["seed"], "run": run}
        | {name: value(run) for name, value in columns.items()}
        for run in runs
    ]
    table = pd.DataFrame(rows, dtype=object)
    return table.where(table.notna(), None)


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    settings = flatten(
        {name: section for name, section in config.items() if isinstance(section, dict) and name != "runtime"}
    )
    return {"federation.client_state": "isolated"} | {
        name: str(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if value is not None and name not in WATCHING | PARTITION_KEYS
    }


def partition(federation: dict[str, Any]) -> str:
    """Return how the training text is divided among clients, in words.

    Example:
        >>> partition({"partition": "dirichlet", "dirichlet_alpha": 0.5}), partition({})
        ('Dirichlet(0.5)', 'IID')
    """
    kind = federation.get("partition", "iid")
    if kind == "dirichlet":
        return f"Dirichlet({federation['dirichlet_alpha']:g})"
    if kind == "by-label":
        return f"{federation['labels_per_client']} label{'s' * (federation['labels_per_client'] > 1)} a client"
    return {"iid": "IID", "by-column": "clients of the data"}.get(kind, kind)


def varying(table: pd.DataFrame, explained: Iterable[str]) -> list[str]:
    """Return the settings in which the runs differ, in alphabetical order, but for the explained ones."""
    settings = sorted(name for name in table.columns if "." in name and name not in set(explained))
    return [name for name in settings if table[name].nunique(dropna=False) > 1]


def grouped(table: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[Any, ...], list[Run]]]:
    """Yield the values of some columns, in ascending order, and the runs that have them, in the order of their seeds.

    Raises:
        InputError: two runs of a group have the same seed.
    """
    for values, rows in table.groupby(list(columns), dropna=False):
        yield values, by_seed(rows["run"])


def by_seed(runs: Iterable[Run]) -> list[Run]:
    """Return the runs in the order of their seeds.

    Raises:
        InputError: two runs have the same seed.
    """
    ordered = sorted(runs, key=lambda run: run["seed"])
    for first, second in itertools.pairwise(ordered):
        if first["seed"] == second["seed"]:
            raise InputError(
                f"{first['name']} and {second['name']} have the same setting, method and seed, expected one run of each"
            )
    return ordered
