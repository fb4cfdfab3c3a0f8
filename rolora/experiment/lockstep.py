"""Several runs in lockstep on one backbone: seeds, learning rates and methods of a grid train in the same batches.

Runs that share model, adapter shapes, data and all training settings but the learning rates need one backbone, and clients
of several runs can form one group of the batched engine. Every run keeps its own folder, record and checkpoint. A sum is
taken over other shapes than in a run alone, so the last digits may differ from it, and with them the bits of a run that is
stopped and resumed: where bits matter, run alone.
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
    """Group configs that can train together; a config is alone where nothing fits, as with other engines."""
    groups: dict[str, list[Config]] = {}
    for config in configs:
        alone = config.runtime.engine != "batched"
        groups.setdefault(config.run_name() if alone else _common(config), []).append(config)
    return list(groups.values())


def _common(config: Config) -> str:
    """The settings that runs of one set share, as text."""
    differing = ["algorithm", "method", "server", "evaluation", "training.learning_rate", "training.learning_rate_a"]
    if not config.data.packing:  # a packed row's texts are one client's
        differing += ["federation", *([] if config.own_backbone else ["seed"])]
    measured = [config.evaluation.split, config.evaluation.select]
    return json.dumps([config.without(*differing), measured], sort_keys=True)


def run(configs: Sequence[Config], out: Path, *, resume: bool, progress: Progress) -> list[dict[str, Any]]:
    """Run experiments of one set in lockstep, round by round; finished ones are read, not run.

    Args:
        configs: of one of the :func:`sets`.
        out: each run gets a folder in here.
        resume: continue from the checkpoints.
        progress: called after every local update.

    Returns:
        Their records, in the order of ``configs``.

    Raises:
        InputError: a config cannot be met, or there is an unfinished run and ``resume`` is False.
    """
    finished: dict[str, dict[str, Any]] = {}
    running: list[Experiment] = []
    for config in configs:
        name = config.run_name()
        done = records.finished(out / name, config.hash())
        if done is not None:
            finished[name] = done
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
                finished[experiment.config.run_name()] = experiment.finish()
    return [finished[config.run_name()] for config in configs]


def advance(experiments: Sequence[Experiment]) -> None:
    """Play the next round of every run; each is charged the share of the time that its local updates are of all."""
    started = time.perf_counter()
    opened = [experiment.open_round() for experiment in experiments]
    jobs_by_shape: dict[tuple[Any, ...], list[tuple[int, Job]]] = {}
    for run_index, (experiment, start) in enumerate(zip(experiments, opened, strict=True)):
        for job in experiment.engine.jobs(start.t, start.broadcasts, start.trainable):
            jobs_by_shape.setdefault(shape(job), []).append((run_index, job))
    updates: list[dict[int, ClientUpdate]] = [{} for _ in experiments]
    trainer, size = experiments[0].engine.trainer, experiments[0].engine.group_size
    for jobs in jobs_by_shape.values():
        for group in in_groups(jobs, size):
            for (run_index, job), update in zip(group, trainer.train([job for _, job in group]), strict=True):
                updates[run_index][job.client] = update
                experiments[run_index].reporter.local_update_done()
    seconds, num_clients = time.perf_counter() - started, sum(len(start.clients) for start in opened)
    for experiment, start, returned in zip(experiments, opened, updates, strict=True):
        share = seconds * len(start.clients) / num_clients
        experiment.close_round(start, [returned[client] for client in start.clients], time.perf_counter() - share)


def shape(job: Job) -> tuple[Any, ...]:
    """Return what jobs in one group share beside the config: trained factors, and residuals folded into the backbone."""
    residuals = tuple(id(layer.residual) for layer in job.start.layers.values() if layer.residual is not None)
    return tuple(sorted(job.trainable)), job.algorithm.local_schedule, residuals
