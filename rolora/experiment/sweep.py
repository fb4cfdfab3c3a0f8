"""Methods compared fairly: a learning rate for every cell chosen on validation text, then every seed measured on test text.

A cell is all that a config says but seed and learning rates. Runs that choose have ``evaluation.split = "validation"``: they
never see test text. All are ordinary runs in one folder, so nothing that is finished is run again.
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
from rolora import records
from rolora.config import Config
from rolora.errors import InputError
from rolora.evaluation import selection

Rate = tuple[float, float | None]
"""The learning rate, and A's own if it has one."""

Runs = Callable[[list[Config]], list[dict[str, Any]]]
"""Runs experiments, or reads those that are finished, and returns their records in the same order."""

RATES = ("learning_rate", "learning_rate_a")


@dataclass(frozen=True)
class Protocol:
    """How a sweep chooses and measures.

    Args:
        seeds: every cell is measured with all of them.
        select_seeds: on these a learning rate is chosen.
        select: which round counts, in choosing and in measuring: the "last", or the best on "validation" text.
        papers_protocol: also the papers' number: every rate with every seed, the best round and rate on the test text.
        reference: the method that others are compared with; the first of FedAvg-LoRA and whatever comes first if None.
    """

    seeds: tuple[int, ...]
    select_seeds: tuple[int, ...]
    select: str = "validation"
    papers_protocol: bool = False
    reference: str | None = None


@dataclass(frozen=True)
class Cell:
    """What is compared: a config for every learning rate that it is tried with, which differ in nothing else."""

    rates: dict[Rate, Config]

    @property
    def any(self) -> Config:
        """One of the configs, for all that they have in common."""
        return next(iter(self.rates.values()))

    def at_edge(self, rate: Rate) -> bool:
        """Whether a rate is the smallest or the largest that was tried, so that a better one may lie beyond."""
        tried = [sorted({found[part] or found[0] for found in self.rates}) for part in range(2)]
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
    """The cells of a config: its own grid times the grids of ``over``.

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
        raise InputError(f"--over: got {text!r}, expected key=value,value,... such as training.learning_rate=1e-3,3e-3")
    try:
        parsed = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError:  # bare words
        parsed = [word.strip() for word in values.split(",")]
    return [f"{key.strip()}={json.dumps(value)}" for value in parsed]


def cells(configs: Sequence[Config]) -> list[Cell]:
    """Configs that differ in learning rates and seeds alone, together."""
    found: dict[str, Cell] = {}
    for config in configs:
        table = config.resolved()
        table.pop("seed")
        for section, names in (("training", RATES), ("evaluation", ("split", "select"))):
            for name in names:
                table[section].pop(name, None)
        cell = found.setdefault(json.dumps(table, sort_keys=True), Cell({}))
        cell.rates[rate_of(config)] = config
    return [
        Cell(dict(sorted(cell.rates.items(), key=lambda pair: (pair[0][0], pair[0][1] or 0))))
        for cell in found.values()
    ]


def rate_of(config: Config) -> Rate:
    """The learning rates of a config."""
    return config.training.learning_rate, config.training.learning_rate_a


def with_(config: Config, seed: int, split: str, select: str) -> Config:
    """The same experiment with another seed, measured on another text, another round counting."""
    table = config.resolved()
    table["seed"] = seed
    table["evaluation"] = table["evaluation"] | {"split": split, "select": select}
    return configuration.check(table, "sweep")


def choosing(cell: Cell, protocol: Protocol) -> dict[tuple[Rate, int], Config]:
    """The runs that choose a cell's rate, on validation text alone; none where there is one rate."""
    if len(cell.rates) == 1:
        return {}
    return {
        (rate, seed): with_(config, seed, "validation", "last")
        for rate, config in cell.rates.items()
        for seed in protocol.select_seeds
    }


def measuring(cell: Cell, rate: Rate, protocol: Protocol) -> dict[tuple[Rate, int], Config]:
    """The runs that measure a cell at the chosen rate; for the papers' protocol at every rate, with test text in sight."""
    select = "test" if protocol.papers_protocol else protocol.select
    return {
        (tried, seed): with_(config, seed, "test", select)
        for tried, config in cell.rates.items()
        if protocol.papers_protocol or tried == rate
        for seed in protocol.seeds
    }


def choose(cell: Cell, found: dict[tuple[Rate, int], dict[str, Any]], protocol: Protocol) -> Choice:
    """The rate with the best mean validation metric; of equal ones the one with the lower loss, then the smaller one."""
    if not found:
        return Choice(cell, {}, {}, next(iter(cell.rates)))
    values: dict[Rate, tuple[float, ...]] = {}
    order: dict[Rate, tuple[float, float]] = {}
    for rate in cell.rates:
        chosen = [counted(found[rate, seed], protocol.select) for seed in protocol.select_seeds]
        metric = selection.primary(chosen[0])
        values[rate] = tuple(one[metric] for one in chosen)
        order[rate] = (
            selection.goodness(metric, float(np.mean(values[rate]))),
            -float(np.mean([c["loss"] for c in chosen])),
        )
    runs = {rate: tuple(found[rate, seed]["name"] for seed in protocol.select_seeds) for rate in cell.rates}
    return Choice(cell, values, runs, max(cell.rates, key=lambda rate: order[rate]))  # from the smallest rate on


def counted(record: dict[str, Any], select: str) -> dict[str, Any]:
    """The validation measurement of a choosing run that counts: of its best round, or of its last."""
    if select == "last":
        return record["final"]
    return record["rounds"][selection.best_round(record["rounds"])]["evaluation"]


def sweep(
    found: Sequence[Cell], protocol: Protocol, run: Runs, tell: Callable[[str], None] = lambda line: None
) -> list[tuple[Choice, dict[tuple[Rate, int], dict[str, Any]]]]:
    """Choose, then measure.

    Args:
        found: the cells.
        protocol: how.
        run: runs experiments.
        tell: is given a line on what comes next, and one for every rate at the edge of its grid.

    Returns:
        Every cell's choice and the records of its measuring runs by rate and seed.
    """
    asked = [choosing(cell, protocol) for cell in found]
    records_of = _each(run, asked) if any(asked) else [{} for _ in asked]
    choices = [choose(cell, done, protocol) for cell, done in zip(found, records_of, strict=True)]
    for choice, settings in zip(choices, differing([cell.any for cell in found]), strict=True):
        if choice.validation and choice.cell.at_edge(choice.rate):
            tell(
                f"warning: {label(settings)}: the best rate, {rate_text(choice.rate)}, is at the edge of its grid; "
                "a better one may lie beyond"
            )
    if any(asked):
        tell(f"learning rates chosen: {', '.join(rate_text(choice.rate) for choice in choices)}")
    measured = _each(run, [measuring(choice.cell, choice.rate, protocol) for choice in choices])
    return list(zip(choices, measured, strict=True))


def _each(run: Runs, asked: Sequence[dict[tuple[Rate, int], Config]]) -> list[dict[tuple[Rate, int], dict[str, Any]]]:
    """All runs of all cells in one go, so that they can stand beside each other."""
    done = iter(run([config for configs in asked for config in configs.values()]))
    return [{key: next(done) for key in configs} for configs in asked]


def differing(configs: Sequence[Config]) -> list[dict[str, Any]]:
    """What tells configs apart: section.key -> value, the method always; learning rates, seed and evaluation aside."""
    tables = [flat(config) for config in configs]
    keys = [
        key
        for key in dict.fromkeys(key for one in tables for key in one)
        if len({json.dumps(one.get(key)) for one in tables}) > 1
    ]
    return [{key: one[key] for key in dict.fromkeys(["algorithm", *keys]) if key in one} for one in tables]


def flat(config: Config) -> dict[str, Any]:
    """A config as section.key -> value, without what differs within a cell: rates, seed, what is measured."""
    table = config.resolved()
    aside = {"seed", "evaluation.select", "evaluation.split", "training.learning_rate", "training.learning_rate_a"}
    found: dict[str, Any] = {}
    for section, value in table.items():
        found |= (
            {f"{section}.{key}": own for key, own in value.items()} if isinstance(value, dict) else {section: value}
        )
    return {key: value for key, value in found.items() if key not in aside}


def label(settings: dict[str, Any]) -> str:
    """A cell's settings as a person reads them.

    Example:
        >>> label({"algorithm": "rolora", "federation.num_clients": 3})
        'rolora, num_clients 3'
    """
    return ", ".join(
        str(value) if key == "algorithm" else f"{key.rpartition('.')[2]} {value}" for key, value in settings.items()
    )


def rate_text(rate: Rate) -> str:
    """A rate as a person writes it.

    Example:
        >>> rate_text((0.003, None)), rate_text((0.01, 0.001))
        ('0.003', '0.01 (A: 0.001)')
    """
    return f"{rate[0]:g}" + (f" (A: {rate[1]:g})" if rate[1] else "")


def announce(found: Sequence[Cell], protocol: Protocol, out: Path, jobs: int) -> str:
    """One line before anything is run: what choosing takes, and what measuring will, whichever rates are chosen."""
    first = [config for cell in found for config in choosing(cell, protocol).values()]
    then = [config for cell in found for config in measuring(cell, next(iter(cell.rates)), protocol).values()]
    if not first:
        return f"measuring: {estimate(then, out, jobs)}"
    return f"choosing learning rates: {estimate(first, out, jobs)}; then measuring: {estimate(then, out, jobs, whole=True)}"


def estimate(configs: Sequence[Config], out: Path, jobs: int, whole: bool = False) -> str:
    """How many runs there are and how long those that are not finished take.

    Runs of equal cost are timed by one that is finished, else by ``rolora.planning.plan``.

    Args:
        configs: the runs.
        out: where they are.
        jobs: how many are run at the same time.
        whole: whether to count all as not finished.
    """
    from rolora.planning.plan import plan
    from rolora.planning.tables import lasting

    unfinished = [
        config for config in configs if whole or records.finished(out / config.run_name(), config.hash()) is None
    ]
    if not unfinished:
        return f"{len(configs)} runs, all finished"
    measured: dict[str, float] = {}
    for path in sorted(out.glob("*/record.json")):
        record = records.read_json(path)
        if isinstance(record, dict) and "seconds" in record:
            measured[_cost(record["config"])] = record["seconds"]
    planned: dict[str, float | None] = {}
    for config in unfinished:
        cost = _cost(config.resolved())
        if cost not in measured and cost not in planned:
            planned[cost] = plan(config).time["seconds"]
    each = [measured.get(cost := _cost(config.resolved()), planned.get(cost)) for config in unfinished]
    seconds = "an unknown time" if None in each else f"about {lasting(sum(each) / jobs)}"
    by = " or more (from the speed of bare matrix products)" if planned else ""
    done = f", {len(configs) - len(unfinished)} finished" if len(unfinished) < len(configs) else ""
    return f"{len(configs)} runs{done}, {seconds}{by}"


def _cost(table: dict[str, Any]) -> str:
    """What runs of equal cost have in common."""
    table = json.loads(json.dumps(table))
    table.pop("seed")
    table["training"] = {name: value for name, value in table["training"].items() if name not in RATES}
    table["evaluation"] = table["evaluation"]["every"]
    return json.dumps(table, sort_keys=True)
