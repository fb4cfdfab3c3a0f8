"""Progress of runs: events from the loop, bars on a terminal or in a notebook, lines in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rolora.evaluation.selection import primary


@dataclass(frozen=True)
class Event:
    """Progress of a run: ``done`` of ``total`` local updates, and the latest round, loss and measurement."""

    done: int
    total: int
    round: int
    rounds: int
    loss: float | None
    metric: str
    value: float | None
    note: str = ""
    """A line to be shown once, such as the reason why an update was refused."""


class Reporter:
    """Turns calls of the engine and the loop into events for a progress bar."""

    def __init__(
        self,
        progress: Callable[[Event], None] | None,
        rounds: int,
        per_round: int,
        finished: int,
        evaluation: Mapping[str, float],
    ) -> None:
        """
        Args:
            progress: takes the events; None if nobody does.
            rounds: of the run.
            per_round: local updates a round.
            finished: rounds that are done already.
            evaluation: the latest measurement.
        """
        self.progress, self.rounds, self.per_round = progress, rounds, per_round
        self.round, self.done = finished, finished * per_round
        self.loss: float | None = None
        self.metric = primary(evaluation)
        self.value: float = evaluation[self.metric]
        self._report()

    def local_update_done(self) -> None:
        """Report a client that has finished."""
        self.done += 1
        self._report()

    def round_done(self, loss: float, evaluation: Mapping[str, float] | None) -> None:
        """Report a round that is aggregated, and evaluated if there is an evaluation."""
        self.round += 1
        self.loss = loss
        self.value = self.value if evaluation is None else evaluation[self.metric]
        self._report()

    def refused(self, reasons: Sequence[str]) -> None:
        """Report refused updates."""
        for reason in reasons:
            self._report(f"refused: {reason}")

    def round_repeated(self, local_updates: int) -> None:
        """Report a round whose local updates are done once more."""
        self.done -= local_updates
        self._report(f"round {self.round} is repeated: too few updates can be used")

    def _report(self, note: str = "") -> None:
        if self.progress is not None:
            total = self.rounds * self.per_round
            self.progress(Event(self.done, total, self.round, self.rounds, self.loss, self.metric, self.value, note))


LINE_SECONDS = 20.0
"""Seconds between two lines of one run, where no bars are drawn."""


def bars(console: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """Return bars with a name, these columns and the time, drawn on a terminal or in a notebook; a file gets none.

    Args:
        console: gets the bars.
        columns: between the bar and the elapsed time.
        transient: remove the bars when they are done.
    """
    first = TextColumn("{task.description}"), BarColumn()
    drawn = console.is_terminal or console.is_jupyter
    return Progress(*first, *columns, TimeElapsedColumn(), console=console, transient=transient, disable=not drawn)


class Display:
    """A bar for each run with round, loss, metric and time left; plain lines where the output is a file."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.finished = 0
        self.bars = bars(console, MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
        self.tasks: dict[str, Any] = {}
        self.all_runs = self.bars.add_task(f"{total} runs", total=total, state="", visible=total > 1)
        self.printed: dict[str, float] = {}

    def show(self, name: str, event: Event) -> None:
        """Show the latest event of a run."""
        loss = "-" if event.loss is None else f"{event.loss:.3f}"
        value = "-" if event.value is None else f"{event.value:.3f}"
        state = f"round {event.round}/{event.rounds}  loss {loss}  {named(event.metric)} {value}"
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=event.total, state="")
        self.bars.update(self.tasks[name], completed=event.done, state=state)
        if event.note:
            self.console.print(f"{name}: {event.note}", markup=False, highlight=False, soft_wrap=True)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed.setdefault(name, now) > LINE_SECONDS:
            self.printed[name] = now
            self.console.print(
                f"{name}: {event.done}/{event.total} local updates, {state}", highlight=False, soft_wrap=True
            )

    def finish(self, name: str, record: dict[str, Any]) -> None:
        """Show that a run is finished, now or earlier."""
        self.finished += 1
        self.bars.update(self.all_runs, advance=1)
        if name in self.tasks and self.total > 1:
            self.bars.update(self.tasks[name], visible=False)
        if not self.console.is_terminal:
            metric = primary(record["final"])
            self.console.print(
                f"{name}: finished ({self.finished}/{self.total}), {named(metric)} {record['final'][metric]:.4f}",
                highlight=False,
            )


def named(metric: str) -> str:
    """Return a metric's name for a reader; a loss that is measured is not the one that is trained.

    Example:
        >>> named("accuracy"), named("matthews_correlation"), named("loss")
        ('accuracy', 'matthews correlation', 'held-out loss')
    """
    return "held-out loss" if metric == "loss" else metric.replace("_", " ")
