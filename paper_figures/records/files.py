"""Checks of records: each refuses a file that is not what its name says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rolora.errors import InputError

CLAIM_KEYS = ("id", "source", "kind", "statement", "measured", "predicted", "verdict", "control_verdict", "instances")
EXPERIMENT_KEYS = ("format", "experiment", "parameters", "series")
EVALUATION_KEYS = ("format", "kind", "model", "results", "environment")
RUN_KEYS = ("format", "name", "status", "config", "seed", "model", "data", "rounds", "final", "environment")

Check = Callable[[Any, Path], Any]
"""(content of a file, its path) -> the record; raises InputError."""


def claims(content: Any, path: Path) -> list[dict[str, Any]]:
    """Return the claims of ``theory check``, ordered by id."""
    return sorted(_entries(content, path, CLAIM_KEYS, "claim", "python -m theory check"), key=lambda claim: claim["id"])


def findings(content: Any, path: Path) -> list[dict[str, Any]]:
    """Return the findings of ``rolora conformance``."""
    keys = ("subject", "law", "asks", "verdict", "words")
    return _entries(content, path, keys, "finding", "python -m rolora conformance")


def _entries(content: Any, path: Path, keys: Sequence[str], noun: str, command: str) -> list[dict[str, Any]]:
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: got {type(content).__name__}, expected a list of {noun}s from: {command}")
    for index, entry in enumerate(content):
        require_keys(entry, keys, f"{path}: {noun} {index}")
    return content


def table(*keys: str) -> Check:
    """Return a check for these keys."""

    def check(content: Any, path: Path) -> dict[str, Any]:
        require_keys(content, keys, str(path))
        return content

    return check


def experiment(name: str) -> Check:
    """Return a check for a simulation of this name."""

    def check(content: Any, path: Path) -> dict[str, Any]:
        require_keys(content, EXPERIMENT_KEYS, str(path))
        if content["experiment"] != name:
            raise InputError(f"{path}: got the experiment {content['experiment']!r}, expected {name!r}")
        if not content["series"]:
            raise InputError(f"{path}: got an empty list of series, expected at least one")
        for index, series in enumerate(content["series"]):
            require_keys(series, ("panel", "algorithm"), f"{path}: series {index}")
        return content

    return check


def run(content: Any, path: Path) -> dict[str, Any]:
    """Return a finished run."""
    require_keys(content, RUN_KEYS, str(path))
    if content["status"] != "finished":
        raise InputError(f"{path}: got status {content['status']!r}, expected a finished run")
    return content


def evaluation(content: Any, path: Path) -> dict[str, Any]:
    """Return a complete evaluation."""
    require_keys(content, EVALUATION_KEYS, str(path))
    if content["kind"] != "evaluation" or not content.get("complete", True):
        raise InputError(f"{path}: expected a complete record that rolora evaluate has written with --json")
    return content


def require_keys(value: Any, keys: Sequence[str], where: str) -> None:
    """Raise InputError unless the value is an object with these keys."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: got {type(value).__name__}, expected an object with {', '.join(keys)}")
    for key in keys:
        if key not in value:
            raise InputError(f"{where}: {key} is missing, expected an object with {', '.join(keys)}")
