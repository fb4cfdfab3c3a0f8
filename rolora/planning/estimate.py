"""The time that several runs take, from finished runs of equal cost or from their plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rolora import records
from rolora.config import Config, flatten
from rolora.planning.plan import plan
from rolora.planning.tables import lasting

FREE = ("seed", "training.learning_rate", "training.learning_rate_a")
"""Keys that do not change the cost of a run; of ``evaluation``, all but the number of rounds between evaluations."""


def estimate_runs(configs: Sequence[Config], all_unfinished: bool = False, *, out: Path, jobs: int) -> str:
    """Return the number of runs and the time of those that are not finished, in words.

    Args:
        configs: the runs.
        all_unfinished: whether to count finished ones as not finished.
        out: folder of the runs; a finished one of equal cost gives the time, else the plan.
        jobs: runs at the same time.
    """
    unfinished = [
        config
        for config in configs
        if all_unfinished or records.finished(out / config.run_name(), config.hash()) is None
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
    times = [(planned | measured)[_cost(config.resolved())] for config in unfinished]
    duration = "an unknown time" if None in times else f"about {lasting(sum(times) / jobs)}"
    by = " or more (from the speed of bare matrix products)" if planned else ""
    done = f", {len(configs) - len(unfinished)} finished" if len(unfinished) < len(configs) else ""
    return f"{len(configs)} runs{done}, {duration}{by}"


def _cost(table: Mapping[str, Any]) -> str:
    table = dict(table) | {"evaluation": table["evaluation"]["every"]}
    return json.dumps({key: value for key, value in flatten(table).items() if key not in FREE}, sort_keys=True)
