"""The files of records: each read, and refused where it is not what its name says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rolora.errors import InputError
from rolora.records import read_json

CLAIM_KEYS = ("id", "source", "kind", "statement", "measured", "predicted", "verdict", "control_verdict", "instances")
EXPERIMENT_KEYS = ("format", "experiment", "parameters", "series")
EVALUATION_KEYS = ("format", "kind", "model", "results", "environment")
RUN_KEYS = ("format", "name", "status", "config", "seed", "model", "data", "rounds", "final", "environment")


def claims(path: Path) -> list[dict[str, Any]] | None:
    """The claims of ``theory check``, by id; None without the file."""
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, list) or not found:
        raise InputError(f"{path}: got {type(found).__name__}, expected a list of claims from: python -m theory check")
    for index, claim in enumerate(found):
        require_keys(claim, CLAIM_KEYS, f"{path}: claim {index}")
    return sorted(found, key=lambda claim: claim["id"])


def findings(path: Path) -> list[dict[str, Any]] | None:
    """What ``rolora conformance`` found; None without the file."""
    if not path.exists():
        return None
    found = read_json(path)
    if not isinstance(found, list) or not found:
        raise InputError(f"{path}: got {type(found).__name__}, expected findings from: python -m rolora conformance")
    for index, finding in enumerate(found):
        require_keys(finding, ("subject", "law", "asks", "verdict", "words"), f"{path}: finding {index}")
    return found


def table(path: Path, keys: Sequence[str]) -> dict[str, Any] | None:
    """A record with these keys; None without the file."""
    if not path.exists():
        return None
    record = read_json(path)
    require_keys(record, keys, str(path))
    return record


def experiment(path: Path, name: str) -> dict[str, Any] | None:
    """A simulation of this name; None without the file."""
    record = table(path, EXPERIMENT_KEYS)
    if record is None:
        return None
    if record["experiment"] != name:
        raise InputError(f"{path}: got the experiment {record['experiment']!r}, expected {name!r}")
    if not record["series"]:
        raise InputError(f"{path}: got an empty list of series, expected at least one")
    for index, series in enumerate(record["series"]):
        require_keys(series, ("panel", "algorithm"), f"{path}: series {index}")
    return record


def runs(folder: Path) -> list[dict[str, Any]]:
    """All finished runs of a folder, by name."""
    found = []
    for path in sorted(folder.glob("*/record.json")):
        run = read_json(path)
        require_keys(run, RUN_KEYS, str(path))
        if run["status"] != "finished":
            raise InputError(f"{path}: got status {run['status']!r}, expected a finished run")
        found.append(run)
    return found


def evaluations(folder: Path) -> list[dict[str, Any]]:
    """All complete evaluations of a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        require_keys(record, EVALUATION_KEYS, str(path))
        if record["kind"] != "evaluation" or not record.get("complete", True):
            raise InputError(f"{path}: expected a complete record that rolora evaluate has written with --json")
        found.append(record)
    return found


def require_keys(value: Any, keys: Sequence[str], where: str) -> None:
    """Refuse what is no object with these keys."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: got {type(value).__name__}, expected an object with {', '.join(keys)}")
    for key in keys:
        if key not in value:
            raise InputError(f"{where}: {key} is missing, expected an object with {', '.join(keys)}")
