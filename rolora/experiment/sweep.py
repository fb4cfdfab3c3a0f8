"""A fair comparison of methods: choose each cell's learning rate on validation text, then measure every seed on test text.

A cell is a config without seed and learning rates. Runs that choose have ``evaluation.split = "validation"``: they never see
test text. All are ordinary runs in one folder, so nothing that is finished is run again.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from rolora import config as configuration
from rolora.config import Config, flatten
from rolora.errors import InputError
from rolora.evaluation import selection

Rate = tuple[float, float | None]
"""The learning rate, and A's own if it has one."""

Runs = Callable[[list[Config]], list[dict[str, Any]]]
"""Runs experiments, or reads those that are finished, and returns their records in the same order."""

Measured = dict[tuple[Rate, int], dict[str, Any]]
"""The records of a cell's runs by rate and seed."""

WITHIN_CELL = (
    "seed", "training.learning_rate", "training.learning_rate_a", "evaluation.split", "evaluation.select",
)  # fmt: skip
"""The keys in which the runs of a cell differ."""


@dataclass(frozen=True)
class Protocol:
    """Seeds and selection rules of a sweep.

    Args:
        seeds: of the runs that measure a cell.
        select_seeds: of the runs that choose its learning rate.
        select: the round that counts, in choosing and in measuring: the "last", or the best on "validation" text.
        papers_protocol: report selection on test data too: every rate with every seed, the best round and rate on test text.
        reference: the method that others are compared with; if None, FedAvg-LoRA, or the first where it is not compared.
    """

    seeds: tuple[int, ...]
    select_seeds: tuple[int, ...]
    select: str = "validation"
    papers_protocol: bool = False
    reference: str | None = None


@dataclass(frozen=True)
class Cell:
    """The configs that are compared with other cells as one: they differ in their learning rates alone."""

    rates: dict[Rate, Config]

    @property
    def any(self) -> Config:
        """One of the configs, for what they have in common."""
        return next(iter(self.rates.values()))

    def at_edge(self, rate: Rate) -> bool:
        """Return whether a rate is the smallest or the largest that was tried, so that a better one may lie beyond."""
        tried = [sorted({other[part] or other[0] for other in self.rates}) for part in range(2)]
        own = (rate[0], rate[1] or rate[0])
        return any(len(grid) > 1 and value in (grid[0], grid[-1]) for grid, value in zip(tried, own, strict=True))


@dataclass(frozen=True)
class Choice:
    """A cell with its rates' validation metrics by selection seed, and the rate that they chose."""

    cell: Cell
    validation: dict[Rate, tuple[float, ...]]
    runs: dict[Rate, tuple[str, ...]]
    rate: Rate


def read(path: Path, overrides: Sequence[str], over: Sequence[str]) -> list[Cell]:
    """Return the cells of a config: its own grid times the grids of ``over``.

    Args:
        path: of the config.
        overrides: ``key=value``, for all cells.
        over: ``key=value,value,...``; of the learning rates one is chosen, the rest is compared.

    Raises:
        InputError: file, key, what was given and what was expected.
    """
    grids = [_grid(text) for text in over]
    configs = [
        config for choice in product(*grids) for config in configuration.read(path, [*overrides, *choice])
    ]  # fmt: skip
    return cells(configs)


def _grid(text: str) -> list[str]:
    key, equals, values = text.partition("=")
    if not equals or not values.strip():
        expected = "key=value,value,... such as training.learning_rate=1e-3,3e-3"
        raise InputError(key="--over", got=text, expected=expected)
    try:
        parsed = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError:  # bare words
        parsed = [word.strip() for word in values.split(",")]
    return [f"{key.strip()}={json.dumps(value)}" for value in parsed]


def cells(configs: Sequence[Config]) -> list[Cell]:
    """Group configs that differ in learning rates and seeds alone."""
    groups: dict[str, Cell] = {}
    for config in configs:
        cell = groups.setdefault(json.dumps(config.without(*WITHIN_CELL), sort_keys=True), Cell({}))
        cell.rates[config.training.learning_rate, config.training.learning_rate_a] = config
    return [
        Cell(dict(sorted(cell.rates.items(), key=lambda pair: (pair[0][0], pair[0][1] or 0))))
        for cell in groups.values()
    ]


def variant(config: Config, seed: int, split: str, select: str) -> Config:
    """Return the same experiment with another seed, measured on another text, with another round that counts."""
    table = config.resolved()
    table["seed"] = seed
    table["evaluation"] |= {"split": split, "select": select}
    return configuration.check(table, "sweep")


def choosing(cell: Cell, protocol: Protocol) -> dict[tuple[Rate, int], Config]:
    """Return the runs that choose a cell's rate, on validation text alone; none where there is one rate."""
    if len(cell.rates) == 1:
        return {}
    return {
        (rate, seed): variant(config, seed, "validation", "last")
        for rate, config in cell.rates.items()
        for seed in protocol.select_seeds
    }


def measuring(cell: Cell, rate: Rate, protocol: Protocol) -> dict[tuple[Rate, int], Config]:
    """Return the runs that measure a cell at the chosen rate; for selection on test data, those at every rate."""
    select = "test" if protocol.papers_protocol else protocol.select
    return {
        (tried, seed): variant(config, seed, "test", select)
        for tried, config in cell.rates.items()
        if protocol.papers_protocol or tried == rate
        for seed in protocol.seeds
    }


def choose(cell: Cell, done: Measured, protocol: Protocol) -> Choice:
    """Choose the rate with the best mean validation metric; of equal ones that with the lower loss, then the smaller one."""
    if not done:
        return Choice(cell, {}, {}, next(iter(cell.rates)))
    values: dict[Rate, tuple[float, ...]] = {}
    order: dict[Rate, tuple[float, float]] = {}
    for rate in cell.rates:
        chosen = [counted(done[rate, seed], protocol.select) for seed in protocol.select_seeds]
        metric = selection.primary(chosen[0])
        values[rate] = tuple(evaluation[metric] for evaluation in chosen)
        order[rate] = (
            selection.goodness(metric, float(np.mean(values[rate]))),
            -float(np.mean([evaluation["loss"] for evaluation in chosen])),
        )
    runs = {rate: tuple(done[rate, seed]["name"] for seed in protocol.select_seeds) for rate in cell.rates}
    return Choice(cell, values, runs, max(cell.rates, key=lambda rate: order[rate]))  # from the smallest rate on


def counted(record: dict[str, Any], select: str) -> dict[str, Any]:
    """Return the validation metrics of a choosing run that count: of its best round, or of its last."""
    if select == "last":
        return record["final"]
    return record["rounds"][selection.best_round(record["rounds"])]["evaluation"]


def sweep(
    cells: Sequence[Cell], protocol: Protocol, run: Runs, report: Callable[[str], None] = lambda line: None
) -> list[tuple[Choice, Measured]]:
    """Choose the cells' rates, then measure.

    Args:
        cells: to compare.
        protocol: seeds and selection rules.
        run: runs experiments.
        report: is given a line on the chosen rates, and one for every rate at the edge of its grid.

    Returns:
        Every cell's choice and its measuring runs.
    """
    requested = [choosing(cell, protocol) for cell in cells]
    done = _run_each(run, requested) if any(requested) else [{} for _ in requested]
    choices = [choose(cell, runs, protocol) for cell, runs in zip(cells, done, strict=True)]
    for choice, settings in zip(choices, differing([cell.any for cell in cells]), strict=True):
        if choice.validation and choice.cell.at_edge(choice.rate):
            report(
                f"warning: {label(settings)}: the best rate, {rate_text(choice.rate)}, is at the edge of its grid; "
                "a better one may lie beyond"
            )
    if any(requested):
        report(f"learning rates chosen: {', '.join(rate_text(choice.rate) for choice in choices)}")
    measured = _run_each(run, [measuring(choice.cell, choice.rate, protocol) for choice in choices])
    return list(zip(choices, measured, strict=True))


def _run_each(run: Runs, requested: Sequence[dict[tuple[Rate, int], Config]]) -> list[Measured]:
    """Run all cells in one call, so that their runs can share processes and batches."""
    done = iter(run([config for configs in requested for config in configs.values()]))
    return [{key: next(done) for key in configs} for configs in requested]


def differing(configs: Sequence[Config]) -> list[dict[str, Any]]:
    """Return the settings in which configs differ, and the method always; learning rates, seed and evaluation ignored."""
    tables = [flatten(config.without(*WITHIN_CELL)) for config in configs]
    keys = [
        key
        for key in dict.fromkeys(key for table in tables for key in table)
        if len({json.dumps(table.get(key)) for table in tables}) > 1
    ]
    return [{key: table[key] for key in dict.fromkeys(["algorithm", *keys]) if key in table} for table in tables]


def label(settings: dict[str, Any]) -> str:
    """Return a cell's settings for a reader.

    Example:
        >>> label({"algorithm": "rolora", "federation.num_clients": 3})
        'rolora, num_clients 3'
    """
    return ", ".join(
        str(value) if key == "algorithm" else f"{key.rpartition('.')[2]} {value}" for key, value in settings.items()
    )


def rate_text(rate: Rate) -> str:
    """Return a rate as one writes it.

    Example:
        >>> rate_text((0.003, None)), rate_text((0.01, 0.001))
        ('0.003', '0.01 (A: 0.001)')
    """
    return f"{rate[0]:g}" + (f" (A: {rate[1]:g})" if rate[1] else "")


def announce(cells: Sequence[Cell], protocol: Protocol, estimate: Callable[[Sequence[Config], bool], str]) -> str:
    """Return a line on what choosing takes, and what measuring will, whichever rates are chosen.

    Args:
        cells: to compare.
        protocol: seeds and selection rules.
        estimate: (configs, whether to count finished ones as not finished) -> their number and time in words, such as
            ``rolora.planning.estimate.estimate_runs``.
    """
    first = [config for cell in cells for config in choosing(cell, protocol).values()]
    then = [config for cell in cells for config in measuring(cell, next(iter(cell.rates)), protocol).values()]
    if not first:
        return f"measuring: {estimate(then, False)}"
    return f"choosing learning rates: {estimate(first, False)}; then measuring: {estimate(then, True)}"
