"""The command line of a record, without the paths of the machine that ran it."""

from __future__ import annotations

from collections.abc import Sequence

PLACES = {"--json": "FILE", "--flower-python": "PYTHON"}
"""Options that name a path -> what stands for it in a record."""


def shown(module: str, words: Sequence[str]) -> str:
    """The command as a reader types it, with their own paths.

    Example:
        >>> shown("tests.tools.bench", ["--repeats", "2", "--json", "a/b.json", "--flower-python=c/python"])
        'python -m tests.tools.bench --repeats 2 --json FILE --flower-python=PYTHON'
    """
    said = ["python", "-m", module]
    for before, word in zip(("", *words), words, strict=False):
        option, equals, _ = word.partition("=")
        said.append(
            PLACES[before]
            if before in PLACES
            else option + equals + PLACES[option]
            if equals and option in PLACES
            else word
        )
    return " ".join(said)
