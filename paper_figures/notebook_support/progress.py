"""A progress bar for notebooks, removed when it is done so that the saved file keeps nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import TextColumn

from rolora.experiment.progress import Event, bars

Advance = Callable[[float], None]
"""Takes the share of the work that is done, in [0, 1]."""


@contextmanager
def bar(name: str, console: Console | None = None) -> Iterator[Advance]:
    """Yield a callback that moves a bar, on standard error if no console is given.

    Example:
        >>> with bar("nothing") as show:
        ...     show(1.0)
    """
    percent = TextColumn("{task.percentage:>3.0f} %")
    with bars(console or Console(stderr=True), percent, transient=True) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def of_events(advance: Advance) -> Callable[[Event], None]:
    """Return the ``progress`` argument of ``rolora.experiment.run`` that moves a bar.

    Example:
        >>> of_events(print)(Event(3, 4, 0, 1, None, "accuracy", None))
        0.75
    """
    return lambda event: advance(event.done / event.total)
