"""How every command of the project reports an error: one line on stderr and a non-zero status."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rolora.errors import InputError


class Terminated(KeyboardInterrupt):
    """SIGTERM: what ends an interrupted command in order ends this one in the same way."""


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of an option such as ``--seeds 0,1,2``, each once.

    Raises:
        InputError: it holds something else.
    """
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise InputError(f"{option}: got {text!r}, expected whole numbers such as 0,1,2") from None


@contextmanager
def one_line_errors(
    debug: bool, interrupted: str = "interrupted", speaks: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Turn an exception into one line and an exit status; with ``debug`` into a traceback.

    Status 2 for input that the user can mend, 130 for an interrupt, 143 for SIGTERM, 1 for anything else.

    Args:
        debug: raise what was raised.
        interrupted: what to say of an interrupt.
        speaks: asked whether this process prints the line: of several that end for one reason, only one does.
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
    heard = speaks()
    if debug and heard:
        raise error
    if heard:
        print(f"error: {text}", file=sys.stderr)
    sys.exit(status)
