"""Registry of claims: the files in the topics of ``theory/claims``, found and loaded by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial

from rolora.errors import InputError
from theory.verification.claim import Claim, Statement, verdict_of

PACKAGE = "theory.claims"


def names() -> list[str]:
    """Return the ids of all claims, in alphabetical order.

    Example:
        >>> "interference-identity" in names()
        True
    """
    return sorted(_modules())


def _modules() -> dict[str, str]:
    """Return claim id -> module over all topics, leaving out names with a leading underscore."""
    # By name, not by an import statement: claims stand above this room and import it.
    folders = importlib.import_module(PACKAGE).__path__
    modules = (module.name for module in pkgutil.walk_packages(folders, f"{PACKAGE}."))
    found: dict[str, str] = {}
    for module in modules:
        *topic, stem = module.removeprefix(f"{PACKAGE}.").split(".")
        name = stem.replace("_", "-")
        if topic and stem[0] != "_" and found.setdefault(name, module) != module:
            raise InputError(key=name, got=module, expected=f"an id of its own; it belongs to {found[name]}")
    return found


def load(name: str) -> Claim:
    """Return the claim of this id: its file's CLAIM with the functions ``check``, ``control``, ``printed``, ``contrast``.

    The direction is the first word under the file's heading **Direction.**

    Raises:
        InputError: the import fails, or one of CLAIM, check, control or the direction is missing.

    Example:
        >>> load("saddle").kind
        'identity'
    """
    path = _modules()[name]
    file = f"{path.replace('.', '/')}.py"
    try:
        module = importlib.import_module(path)
    except Exception as error:
        text = " ".join(str(error).split())
        raise InputError(f"{file} cannot be imported: {type(error).__name__}: {text}") from error
    functions = {part: getattr(module, part, None) for part in ("check", "control", "printed", "contrast")}
    direction = re.search(r"^\*\*Direction\.\*\* (Tight|Upper|Lower)\b", module.__doc__ or "", flags=re.MULTILINE)
    parts = {
        "CLAIM = Statement(...)": isinstance(getattr(module, "CLAIM", None), Statement),
        "def check(key)": functions["check"],
        "def control(key)": functions["control"],
        "**Direction.** Tight, Upper or Lower": direction,
    }
    for part, present in parts.items():
        if not present:
            raise InputError(where=file, expected=part)
    return Claim(
        **asdict(module.CLAIM),
        id=name,
        direction=direction[1].lower(),
        check=partial(verdict_of, functions["check"], functions["printed"]),
        control=partial(verdict_of, functions["control"], None),
        contrast=partial(verdict_of, functions["contrast"], None) if functions["contrast"] else None,
    )


def document(name: str) -> str:
    """Return the docstring of a claim's file: statement, assumptions, direction, source, derivation, control.

    Raises:
        InputError: as ``load``.

    Example:
        >>> "**Derivation.**" in document("saddle")
        True
    """
    load(name)
    return inspect.getdoc(sys.modules[_modules()[name]]) or ""


def registry() -> dict[str, Claim]:
    """Return all claims by id, in alphabetical order.

    Raises:
        InputError: as ``load``.

    Example:
        >>> list(registry()) == names()
        True
    """
    return {name: load(name) for name in names()}


def choose(ids: Iterable[str]) -> list[str]:
    """Return the given ids, or all if none is given.

    Raises:
        InputError: an id is given twice, is the beginning of others, or is unknown; with the nearest names.

    Example:
        >>> choose(["saddle", "population-map"])
        ['saddle', 'population-map']
    """
    chosen, known = list(ids), names()
    for name in chosen:
        if name not in known:
            raise InputError(_unknown(name, known), key="ID", got=name)
        if chosen.count(name) > 1:
            raise InputError(
                f"the claim {name!r} is given {chosen.count(name)} times, expected once", key="ID", got=name
            )
    return chosen or known


def _unknown(name: str, known: list[str]) -> str:
    typed = name.lower().replace("_", "-")
    longer = [known_id for known_id in known if typed and known_id.startswith(typed)]
    if longer and typed not in known:
        return f"no claim is called {name!r}; it is the beginning of {', '.join(longer)}"
    near = [known_id for known_id in known if typed and typed in known_id]
    near += [known_id for known_id in difflib.get_close_matches(typed, known, n=4) if known_id not in near]
    hint = f"the nearest are {', '.join(near[:6])}" if near else "no name is near it"
    return f"no claim is called {name!r}; {hint} (python -m theory list shows all {len(known)})"


def select(ids: Iterable[str]) -> list[Claim]:
    """Return the claims with these ids in the given order, or all if none is given.

    Raises:
        InputError: as ``choose`` and ``load``.
    """
    return [load(name) for name in choose(ids)]
