"""Error reports of all commands: one line for each error on stderr, and a non-zero status."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rolora.errors import InputError


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command in the same order as an interrupt."""


@contextmanager
def one_line_errors(
    debug: bool, interrupted: str = "interrupted", speaks: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Turn an exception into one line and an exit status.

    Status 2 for an :class:`InputError`, 130 for an interrupt, 143 for SIGTERM, 1 for anything else.

    Args:
        debug: raise the exception instead.
        interrupted: text for an interrupt.
        speaks: returns True if this process prints the line: of several that end for one reason, only one does.
    """
    try:
        with _terminable():
            yield
    except InputError as error:
        _leave(error, str(error), 2, debug, speaks)
    except KeyboardInterrupt as error:
        _leave(error, interrupted, 143 if isinstance(error, Terminated) else 130, debug, speaks)
    except Exception as error:
        _leave(error, f"{_described(error)} (--debug shows where)", 1, debug, speaks)


@contextmanager
def _terminable() -> Iterator[None]:
    """Within it, SIGTERM raises :class:`Terminated`. Only the main thread may set that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def _described(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _leave(error: BaseException, text: str, status: int, debug: bool, speaks: Callable[[], bool]) -> None:
    if speaks():
        if debug:
            raise error
        print("\n".join(f"error: {line}" for line in text.splitlines()), file=sys.stderr)
    sys.exit(status)
