"""Several experiments, one after another or beside each other."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console

from rolora.config import Config
from rolora.progress import Display


def run_all(configs: list[Config], out: Path, resume: bool, jobs: int, console: Console) -> list[dict[str, Any]]:
    """Run experiments, ``jobs`` at a time, each in its own folder of ``out``.

    Returns:
        Their records, in the order of the configs; finished runs are read, not run.

    Raises:
        InputError: the first one that a run met; runs that are finished stay finished.
    """
    records: dict[str, dict[str, Any]] = {}
    display = Display(console, len(configs))

    def finish(name: str, record: dict[str, Any]) -> None:
        records[name] = record
        display.finish(name, record)

    with display.bars:
        if jobs == 1 or len(configs) == 1:
            _run_in_turn(configs, out, resume, display, finish)
        else:
            _run_beside(configs, out, resume, jobs, display, finish)
    return [records[config.run_name()] for config in configs]


def _run_in_turn(configs: list[Config], out: Path, resume: bool, display: Display, finish: Any) -> None:
    from rolora import experiment

    for config in configs:
        name = config.run_name()
        progress = lambda event, name=name: display.show(name, event)  # noqa: E731
        finish(name, experiment.run(config, out / name, resume=resume, progress=progress))


def _run_beside(configs: list[Config], out: Path, resume: bool, jobs: int, display: Display, finish: Any) -> None:
    # Spawned processes share nothing, so a run has the same bits alone and beside others.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        events = manager.Queue()
        listener = Thread(target=_listen, args=(events, display), daemon=True)
        listener.start()
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_leave_interrupts_to_the_parent)
        try:
            futures = {pool.submit(_work, config, out, resume, events): config for config in configs}
            for future in as_completed(futures):
                finish(futures[future].run_name(), future.result())
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


def _work(config: Config, out: Path, resume: bool, events: Any) -> dict[str, Any]:
    from rolora import experiment

    name = config.run_name()
    return experiment.run(config, out / name, resume=resume, progress=lambda event: events.put((name, event)))
