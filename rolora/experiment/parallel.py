"""Several experiments, one after another or beside each other."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console

from rolora.config import Config
from rolora.errors import InputError
from rolora.experiment.progress import Display, Event
from rolora.experiment.standing import Standing
from rolora.privacy import accounting
from rolora.records import finished
from rolora.training import process_group


def run_all(
    configs: list[Config],
    out: Path,
    resume: bool,
    jobs: int,
    console: Console,
    together: bool = False,
    track: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Run experiments, ``jobs`` at a time, each in its own folder of ``out``.

    Args:
        configs: what to run.
        out: where the folders are.
        resume: go on with unfinished runs.
        jobs: processes beside each other.
        console: where to show how far it is.
        together: train the runs that can in lockstep on one backbone (``rolora.experiment.lockstep``).
        track: trackers that are told too (``rolora.experiment.tracking``).

    Returns:
        Their records, in the order of the configs; finished runs are read, not run.

    Raises:
        InputError: the first one that a run met; runs that are finished stay finished.
    """
    if process_group.count() > 1 and (jobs > 1 or together):
        given = f"--jobs {jobs}" if jobs > 1 else "--together"
        raise InputError(
            f"got {given} in {process_group.count()} processes, expected neither --jobs nor --together: the processes share "
            "the clients of one run after another"
        )
    if track:
        _tracking().check(track)
    for config in configs:
        if not finished(out / config.run_name(), config.hash()):
            accounting.check(config)
    if together:
        from rolora.experiment.lockstep import sets

        units = sets(configs)
    else:
        units = [[config] for config in configs]
    records: dict[str, dict[str, Any]] = {}
    display = Display(console, len(configs))

    def finish(unit: list[Config], found: list[dict[str, Any]]) -> None:
        for config, record in zip(unit, found, strict=True):
            records[config.run_name()] = record
            display.finish(config.run_name(), record)

    with display.bars:
        if jobs == 1 or len(units) == 1:
            standing = Standing()
            for unit in units:
                finish(unit, _run(unit, out, resume, display.show, track, standing))
        else:
            _run_beside(units, out, resume, jobs, display, finish, track)
    for config in configs:
        if config.privacy.mode != "none":
            console.print(
                accounting.sentence(records[config.run_name()]), markup=False, highlight=False, soft_wrap=True
            )
    return [records[config.run_name()] for config in configs]


def _run(
    unit: list[Config],
    out: Path,
    resume: bool,
    show: Callable[[str, Event], None],
    track: Sequence[str],
    standing: Standing,
) -> list[dict[str, Any]]:
    from rolora.experiment import lockstep, loop

    if len(unit) > 1:
        before = {config.run_name() for config in unit if finished(out / config.run_name(), config.hash())}
        found = lockstep.run(unit, out, resume=resume, progress=show)
        for config, record in zip(unit, found, strict=True) if track else ():
            if config.run_name() not in before:
                _tracking().log_finished(track, config, out / config.run_name(), record)
        return found
    (config,) = unit
    name = config.run_name()
    trackers = _tracking().Trackers(track, config, out / name) if track else None
    watch = trackers.round_done if trackers else None
    record = None
    try:
        record = loop.run(
            config,
            out / name,
            resume=resume,
            progress=lambda event: show(name, event),
            watch=watch,
            standing=standing,
        )
    finally:
        if trackers:
            trackers.finish(record)
    return [record]


def _tracking() -> Any:
    from rolora.experiment import tracking  # loads torch

    return tracking


@cache
def _left_standing() -> Standing:
    """Of this worker process."""
    return Standing()


def _run_beside(
    units: list[list[Config]],
    out: Path,
    resume: bool,
    jobs: int,
    display: Display,
    finish: Any,
    track: Sequence[str],
) -> None:
    # Spawned processes share nothing, so a run has the same bits alone and beside others.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        events = manager.Queue()
        listener = Thread(target=_listen, args=(events, display), daemon=True)
        listener.start()
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_leave_interrupts_to_the_parent)
        try:
            futures = {pool.submit(_work, unit, out, resume, events, track): unit for unit in units}
            for future in as_completed(futures):
                finish(futures[future], future.result())
        except BaseException:
            # Whatever ended this one must not wait minutes for the others; they resume from their checkpoints.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            events.put(None)
            listener.join()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _listen(events: Any, display: Display) -> None:
    while (message := events.get()) is not None:
        display.show(*message)


def _work(unit: list[Config], out: Path, resume: bool, events: Any, track: Sequence[str]) -> list[dict[str, Any]]:
    return _run(unit, out, resume, lambda name, event: events.put((name, event)), track, _left_standing())
