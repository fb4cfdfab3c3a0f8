"""Several experiments, one after another or in parallel processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.console import Console

from rolora.config import Config
from rolora.errors import InputError
from rolora.experiment import tracking
from rolora.experiment.progress import Display, Event
from rolora.privacy import accounting
from rolora.records import finished
from rolora.training import process_group

if TYPE_CHECKING:  # loads torch
    from rolora.experiment.setup import SetupCache


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
        resume: continue unfinished runs.
        jobs: processes at the same time.
        console: for bars or lines of progress.
        together: train the runs that can in lockstep on one backbone (``rolora.experiment.lockstep``).
        track: names of trackers that log the runs too (``rolora.experiment.tracking``).

    Returns:
        Their records, in the order of the configs; finished runs are read, not run.

    Raises:
        InputError: the first one that a run met; runs that are finished stay finished.
    """
    if process_group.count() > 1 and (jobs > 1 or together):
        raise InputError(
            key="--jobs" if jobs > 1 else "--together", got=jobs if jobs > 1 else together,
            expected=f"none in {process_group.count()} processes: they share the clients of one run after another",
        )  # fmt: skip
    tracking.check(track)
    for config in configs:
        if not finished(out / config.run_name(), config.hash()):
            accounting.check(config)
    units = [[config] for config in configs]
    if together:
        from rolora.experiment.lockstep import sets

        units = sets(configs)
    records: dict[str, dict[str, Any]] = {}
    display = Display(console, len(configs))

    def finish(unit: list[Config], unit_records: list[dict[str, Any]]) -> None:
        for config, record in zip(unit, unit_records, strict=True):
            records[config.run_name()] = record
            display.finish(config.run_name(), record)

    work = partial(_run, out=out, resume=resume, track=track)
    with display.bars:
        if jobs == 1 or len(units) == 1:
            from rolora.experiment.setup import SetupCache

            setups = SetupCache()
            for unit in units:
                finish(unit, work(unit, show=display.show, setups=setups))
        else:
            _run_in_processes(work, units, jobs, display, finish)
    for config in configs:
        if config.privacy.mode != "none":
            console.print(
                accounting.sentence(records[config.run_name()]), markup=False, highlight=False, soft_wrap=True
            )
    return [records[config.run_name()] for config in configs]


def _run(
    unit: list[Config],
    *,
    out: Path,
    resume: bool,
    track: Sequence[str],
    show: Callable[[str, Event], None],
    setups: SetupCache,
) -> list[dict[str, Any]]:
    """Run one config, or several in lockstep, and return their records."""
    from rolora.experiment import lockstep, loop

    if len(unit) > 1:
        before = {config.run_name() for config in unit if finished(out / config.run_name(), config.hash())}
        records = lockstep.run(unit, out, resume=resume, progress=show)
        for config, record in zip(unit, records, strict=True) if track else ():
            if config.run_name() not in before:
                tracking.log_finished(track, config, out / config.run_name(), record)
        return records
    (config,) = unit
    directory = out / config.run_name()
    trackers = tracking.Trackers(track, config, directory)
    record = None
    try:
        record = loop.run(
            config,
            directory,
            resume=resume,
            progress=partial(show, config.run_name()),
            watch=trackers.round_done if track else None,
            setups=setups,
        )
    finally:
        trackers.finish(record)
    return [record]


def _run_in_processes(
    work: Callable[..., list[dict[str, Any]]],
    units: list[list[Config]],
    jobs: int,
    display: Display,
    finish: Callable[[list[Config], list[dict[str, Any]]], None],
) -> None:
    # Spawned processes share nothing, so a run has the same bits alone and in parallel with others.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        events = manager.Queue()
        listener = Thread(target=_listen, args=(events, display), daemon=True)
        listener.start()
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_leave_interrupts_to_the_parent)
        try:
            futures = {pool.submit(_in_worker, work, unit, events): unit for unit in units}
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


def _in_worker(work: Callable[..., list[dict[str, Any]]], unit: list[Config], events: Any) -> list[dict[str, Any]]:
    return work(unit, show=lambda name, event: events.put((name, event)), setups=_worker_setups())


@cache
def _worker_setups() -> SetupCache:
    """The cache of this worker process."""
    from rolora.experiment.setup import SetupCache

    return SetupCache()
