"""The one kind of error that a user can cause and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(Exception):
    """One line: where, key, value given, values expected.

    The commands print its text and exit with status 2; a traceback is shown only with ``--debug``.

    Args:
        message: the text, where it is not the line made of the parts.
        key: the config key or option, as a user writes it: ``lora.rank``, ``--seeds``.
        got: the value that was given.
        expected: the values that are accepted, with the reason if it is not plain.
        where: the file or command with the value.
        faults: of several errors that are reported together, each on a line.

    Example:
        >>> print(InputError(key="lora.rank", got="four", expected="a whole number", where="a.toml"))
        a.toml: lora.rank: got 'four', expected a whole number
        >>> print(InputError(key="--data", expected="a folder"))
        --data: expected a folder
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        key: str | None = None,
        got: Any = ...,
        expected: str | None = None,
        where: object | None = None,
        faults: tuple[InputError, ...] = (),
    ) -> None:
        self.key, self.got, self.expected, self.where, self.faults = key, got, expected, where, faults
        super().__init__(self._line() if message is None else message)

    def _line(self) -> str:
        places = [str(part) for part in (self.where, self.key) if part is not None]
        given = [] if self.got is ... else [f"got {spelt(self.got)}"]
        wanted = [] if self.expected is None else [f"expected {self.expected}"]
        return ": ".join([*places, ", ".join([*given, *wanted])])

    def at(self, where: object) -> InputError:
        """Return this error with the file or command it comes from."""
        return InputError(f"{where}: {self}", key=self.key, got=self.got, expected=self.expected, where=where)


def spelt(value: object) -> str:
    """Return a value as a user writes it.

    Example:
        >>> spelt("none"), spelt(False), spelt(0.0), spelt(None), spelt([1, "a"])
        ("'none'", 'false', '0.0', 'nothing', "[1, 'a']")
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float | list | tuple | dict) else str(value)


def one_of(given: object, known: Iterable[str], prefix: str = "") -> str:
    """Return the names that are accepted, with the nearest one to what was given.

    Example:
        >>> one_of("rolara", ["ffa-lora", "rolora"]), one_of("x", ["ab", "cd"])
        ('one of ffa-lora, rolora; did you mean rolora?', 'one of ab, cd')
    """
    names = list(known)
    close = difflib.get_close_matches(str(given), names, n=1)
    return f"one of {', '.join(names)}{f'; did you mean {prefix}{close[0]}?' if close else ''}"
