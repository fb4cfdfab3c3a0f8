"""Several runs in lockstep on one backbone: seeds, learning rates and methods of a grid train in the same batches.

Runs that share model, adapter shapes, data and all training settings but the learning rates need one backbone, and a
client of one run can stand beside a client of another in a group of the batched engine. Every run keeps its own folder,
record and checkpoint. A sum is taken over other shapes than in a run alone, so the last digits may differ from it, and
with them the bits of a run that is stopped and resumed: where bits matter, run alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rolora import records
from rolora.config import Config
from rolora.experiment.loop import Experiment
from rolora.experiment.progress import Event
from rolora.federation import ClientUpdate
from rolora.training.engines.base import Job
from rolora.training.engines.batched import in_groups

Progress = Callable[[str, Event], None]
"""(run, event)"""


def sets(configs: Sequence[Config]) -> list[list[Config]]:
    """The configs in sets whose members can train together; a set of one where nothing fits, as with other engines."""
    found: dict[str, list[Config]] = {}
    for config in configs:
        alone = config.runtime.engine != "batched"
        found.setdefault(config.run_name() if alone else common(config), []).append(config)
    return list(found.values())


def common(config: Config) -> str:
    """What runs that train together agree on, as text."""
    table = config.resolved()
    for section in ("algorithm", "method", "server", "federation", "evaluation"):
        table.pop(section, None)
    table["split"] = [config.evaluation.split, config.evaluation.select]
    for rate in ("learning_rate", "learning_rate_a"):
        table["training"].pop(rate, None)
    if not config.own_backbone:
        table.pop("seed")
    return json.dumps(table, sort_keys=True)


def run(configs: Sequence[Config], out: Path, *, resume: bool, progress: Progress) -> list[dict[str, Any]]:
    """Run experiments of one set in lockstep, round by round; finished ones are read, not run.

    Args:
        configs: of one of the :func:`sets`.
        out: each run gets a folder in here.
        resume: go on from the checkpoints.
        progress: told after every local update.

    Returns:
        Their records, in the order of ``configs``.

    Raises:
        InputError: a config cannot be met, or there is an unfinished run and ``resume`` is False.
    """
    found: dict[str, dict[str, Any]] = {}
    running: list[Experiment] = []
    for config in configs:
        name = config.run_name()
        done = records.finished(out / name, config.hash())
        if done is not None:
            found[name] = done
            continue
        running.append(
            Experiment(
                config,
                out / name,
                resume=resume,
                progress=lambda event, name=name: progress(name, event),
                setup=running[0].setup.reused if running else None,
            )
        )
    for experiment in running:
        experiment.runs_together = len(running)
    while active := [experiment for experiment in running if not experiment.over]:
        advance(active)
        for experiment in active:
            if experiment.over:
                found[experiment.config.run_name()] = experiment.finish()
    return [found[config.run_name()] for config in configs]


def advance(experiments: Sequence[Experiment]) -> None:
    """The next round of every run; each is charged the part of the time that its local updates are of all."""
    started = time.perf_counter()
    opened = [experiment.open_round() for experiment in experiments]
    asked: dict[tuple[Any, ...], list[tuple[int, Job]]] = {}
    for run_index, (experiment, each) in enumerate(zip(experiments, opened, strict=True)):
        for job in experiment.engine.jobs(each.t, each.broadcasts, each.trainable):
            asked.setdefault(shape(job), []).append((run_index, job))
    updates: list[dict[int, ClientUpdate]] = [{} for _ in experiments]
    trainer, size = experiments[0].engine.trainer, experiments[0].engine.group_size
    for jobs in asked.values():
        for group in in_groups(jobs, size):
            for (run_index, job), update in zip(group, trainer.train([job for _, job in group]), strict=True):
                updates[run_index][job.client] = update
                experiments[run_index].reporter.local_update_done()
    spent, everyone = time.perf_counter() - started, sum(len(each.clients) for each in opened)
    for experiment, each, returned in zip(experiments, opened, updates, strict=True):
        share = spent * len(each.clients) / everyone
        experiment.close_round(each, [returned[client] for client in each.clients], time.perf_counter() - share)


def shape(job: Job) -> tuple[Any, ...]:
    """What jobs in one group agree on beside the config: the factors that train, and what is folded into the backbone."""
    residuals = tuple(id(layer.residual) for layer in job.start.layers.values() if layer.residual is not None)
    return tuple(sorted(job.trainable)), job.algorithm.local_schedule, residuals
