"""Several experiments, one after another or beside each other, with progress that a person can follow."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rolora.config import Config

if TYPE_CHECKING:
    from rolora.experiment import Event

LINE_SECONDS = 20.0
"""Where there is no terminal to draw bars on: seconds between two lines of one run."""


class Display:
    """A bar for each run with round, loss, accuracy and time left; plain lines where the output is a file."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.finished = 0
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, Any] = {}
        self.whole = self.bars.add_task(f"{total} runs", total=total, state="", visible=total > 1)
        self.printed: dict[str, float] = {}

    def show(self, name: str, event: Event) -> None:
        """A run has come further."""
        loss = "-" if event.loss is None else f"{event.loss:.3f}"
        accuracy = "-" if event.accuracy is None else f"{event.accuracy:.3f}"
        state = f"round {event.round}/{event.rounds}  loss {loss}  accuracy {accuracy}"
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=event.total, state="")
        self.bars.update(self.tasks[name], completed=event.done, state=state)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed.setdefault(name, now) > LINE_SECONDS:
            self.printed[name] = now
            self.console.print(f"{name}: {event.done}/{event.total} local updates, {state}", highlight=False)

    def finish(self, name: str, record: dict[str, Any]) -> None:
        """A run is finished, now or earlier."""
        self.finished += 1
        self.bars.update(self.whole, advance=1)
        if name in self.tasks and self.total > 1:
            self.bars.update(self.tasks[name], visible=False)
        if not self.console.is_terminal:
            accuracy = record["final"]["accuracy"]
            self.console.print(
                f"{name}: finished ({self.finished}/{self.total}), accuracy {accuracy:.4f}", highlight=False
            )


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
        pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context)
        try:
            futures = {pool.submit(_work, config, out, resume, events): config for config in configs}
            for future in as_completed(futures):
                finish(futures[future].run_name(), future.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            events.put(None)
            listener.join()


def _listen(events: Any, display: Display) -> None:
    while (message := events.get()) is not None:
        display.show(*message)


def _work(config: Config, out: Path, resume: bool, events: Any) -> dict[str, Any]:
    from rolora import experiment

    name = config.run_name()
    return experiment.run(config, out / name, resume=resume, progress=lambda event: events.put((name, event)))
