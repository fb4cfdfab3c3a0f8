"""A progress bar for what a notebook computes: gone when it is done, so that nothing of it stays in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rolora.experiment.progress import Event

Tell = Callable[[float], None]
"""Takes the share of the work that is done, in [0, 1]."""


@contextmanager
def bar(name: str, console: Console | None = None) -> Iterator[Tell]:
    """Show how far something is, in a notebook or on a terminal; a file or a pipe gets nothing.

    Args:
        name: what is computed.
        console: where; standard error if not given.

    Returns:
        What is to be told the share.

    Example:
        >>> with bar("nothing") as tell:
        ...     tell(1.0)
    """
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    off = not (console.is_terminal or console.is_jupyter)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=off) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def of_events(tell: Tell) -> Callable[[Event], None]:
    """What ``rolora.experiment.loop.run`` takes as its ``progress``.

    Example:
        >>> of_events(print)(Event(3, 4, 0, 1, None, "accuracy", None))
        0.75
    """
    return lambda event: tell(event.done / event.total)
