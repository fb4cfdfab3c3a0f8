"""The sources of every rendered file, noted when it is made and compared when it is checked.

That a file is in step with its code is shown by running the code: the bytes are compared. The digests say more: which
record or module it is that has changed, and whether a record has changed where the drawing happens not to show it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from paper_figures.analysis.entry import Entry
from paper_figures.records.sources import SOURCES, Records
from rolora.errors import InputError
from rolora.records import dump_json, read_json

NAME = "made_from.json"
"""The file beside the rendered ones."""

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("paper_figures", "theory", "rolora")
LIBRARIES = ("matplotlib", "numpy", "scipy")
"""Whose version may change a drawing."""

SHOWN = 3
"""So many changed files are named; the others are counted."""


def digest(content: bytes) -> str:
    """The first 16 digits of the SHA-256: enough to notice a change, not to withstand a forger."""
    return hashlib.sha256(content).hexdigest()[:16]


def record_digests(records: Records, kinds: Iterable[str]) -> dict[str, str]:
    """File below its records directory -> digest, for these kinds."""
    return {
        path.relative_to(records.place(kind)).as_posix(): digest(path.read_bytes())
        for kind in kinds
        for path in sorted(records.place(kind).glob(SOURCES[kind].file))
    }


def code_digests(module: str) -> dict[str, str]:
    """File of the project -> digest, for a module and all modules of the project that it imports."""
    digests: dict[str, str] = {}
    waiting = [module]
    while waiting:
        path = _file(waiting.pop())
        if path is None or (name := path.relative_to(ROOT).as_posix()) in digests:
            continue
        content = path.read_bytes()
        digests[name] = digest(content)
        waiting += _imports(content)
    return dict(sorted(digests.items()))


def _file(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@lru_cache(maxsize=512)
def _imports(content: bytes) -> tuple[str, ...]:
    """The project's modules that a source names; of ``from package import name`` the name may be one."""
    names: list[str] = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.partition(".")[0] in PACKAGES)


def made_from(entry: Entry, records: Records) -> dict[str, Any]:
    """The records, modules and libraries that one figure or table comes from now."""
    return {
        "records": record_digests(records, dict.fromkeys((*entry.needs, *entry.uses))),
        "code": code_digests(entry.module),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def read(out: Path) -> dict[str, Any]:
    """Id -> what it was made from, as written down beside the files; empty where nothing is.

    Raises:
        InputError: the file is something else.
    """
    path = out / NAME
    if not path.exists():
        return {}
    noted = read_json(path)
    if not isinstance(noted, dict) or not all(isinstance(one, dict) and "records" in one for one in noted.values()):
        raise InputError(f"{path}: expected what build writes there; mend with: python -m paper_figures build")
    return noted


def written(noted: dict[str, Any]) -> bytes:
    """The content of the file."""
    return dump_json(dict(sorted(noted.items()))).encode()


def record_changes(noted: dict[str, Any], now: dict[str, Any]) -> str:
    """Return in words which records differ from those that were noted; "" if none does.

    Example:
        >>> record_changes({"records": {"a.json": "1", "b.json": "2"}}, {"records": {"a.json": "3"}})
        'a.json has changed, b.json is gone'
    """
    return _changes(noted["records"], now["records"])


def reason(noted: dict[str, Any], now: dict[str, Any]) -> str:
    """Why a file may differ from what is made now, in words."""
    records, code = record_changes(noted, now), _changes(noted.get("code", {}), now["code"])
    libraries = [
        f"{name} {now['libraries'][name]} in the place of {was}"
        for name, was in noted.get("libraries", {}).items()
        if now["libraries"].get(name, was) != was
    ]
    changed = "; ".join(part for part in (records, code, ", ".join(libraries)) if part)
    return changed or "neither its records nor its code has changed: the file itself, or printed numbers it quotes, did"


def _changes(noted: dict[str, str], now: dict[str, str]) -> str:
    words = [f"{name} has changed" for name in noted if name in now and noted[name] != now[name]]
    words += [f"{name} is gone" for name in noted if name not in now]
    words += [f"{name} is new" for name in now if name not in noted]
    rest = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + rest


def faults(
    entry: str, made: dict[str, bytes], noted: dict[str, Any] | None, now: dict[str, Any], out: Path
) -> list[str]:
    """Return the faults of the files of one figure or table, and of its entry in the note.

    Args:
        entry: its id.
        made: file name -> content, as made now.
        noted: what its files were made from, or None.
        now: what they are made from now.
        out: where the files are.
    """
    missing = [name for name in made if not (out / name).is_file()]
    differing = [name for name in made if name not in missing and (out / name).read_bytes() != made[name]]
    found = [f"{out / name}: missing" for name in missing]
    if noted is None:
        found.append(f"{out / NAME}: {entry} is missing")
    why = reason(noted, now) if noted else "what it was made from is not noted"
    found += [f"{out / name}: out of step: {why}" for name in differing]
    if noted and not differing and (changes := record_changes(noted, now)):
        found.append(f"{entry}: made from other records, which it shows no difference of: {changes}")
    return found


def surplus(made: dict[str, dict[str, bytes]], noted: dict[str, Any], out: Path, others: set[str]) -> list[str]:
    """The files, and the entries of the note, that no record makes.

    Args:
        made: id -> file name -> content.
        noted: id -> what its files were made from.
        out: where the files are.
        others: names of files that may lie there too.
    """
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    known = {name for files in made.values() for name in files} | others | {NAME}
    return [
        *(f"{out / name}: no record makes this file" for name in sorted(there - known)),
        *(f"{out / NAME}: no record makes {entry}" for entry in sorted(noted.keys() - made.keys())),
    ]
