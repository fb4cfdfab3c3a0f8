"""How every command of the project reports an error: one line on stderr and a non-zero status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rolora.errors import InputError


@contextmanager
def one_line_errors(debug: bool, interrupted: str = "interrupted") -> Iterator[None]:
    """Turn an exception into one line and an exit status; with ``debug`` into a traceback.

    Status 2 for input that the user can mend, 130 for an interrupt, 1 for anything else.
    """
    try:
        yield
    except InputError as error:
        _leave(error, str(error), 2, debug)
    except KeyboardInterrupt as error:
        _leave(error, interrupted, 130, debug)
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        _leave(error, f"{type(error).__name__}: {text} (--debug shows where)", 1, debug)


def _leave(error: BaseException, text: str, status: int, debug: bool) -> None:
    if debug:
        raise error
    print(f"error: {text}", file=sys.stderr)
    sys.exit(status)
