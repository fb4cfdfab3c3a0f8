"""The findings as a table, as remarks, and as a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from rolora.algorithms import ALGORITHMS
from rolora.conformance.engines import ENGINE_LAWS, OurEngine, examine_engine
from rolora.conformance.laws import LAWS, Finding, examine
from rolora.conformance.subjects import SUBJECTS, load
from rolora.errors import InputError, one_of

Found = Mapping[str, Sequence[Finding]]
"""Subject -> its findings, by law."""

WORDS = {number: law.words for number, law in LAWS.items()} | ENGINE_LAWS
"""Law -> what it asks for."""


def ours(names: Sequence[str]) -> Found:
    """The methods of this project, as aggregators and on the sequential engine; all of them if no name is given.

    Raises:
        InputError: a name is not a method's.
    """
    for name in names:
        if name not in ALGORITHMS:
            raise InputError(f"conformance: got {name!r}, expected {one_of(name, ALGORITHMS)}")
    return {
        name: sorted([*examine(SUBJECTS[name]()), *examine_engine(OurEngine(name))], key=lambda finding: finding.law)
        for name in names or ALGORITHMS
    }


def foreign(names: Sequence[str]) -> Found:
    """Foreign aggregators; the laws of an engine do not apply to them.

    Raises:
        InputError: one of them cannot be imported.
    """
    subjects = [load(name) for name in names]
    return {subject.name: examine(subject) for subject in subjects}


MARKS = {"pass": "yes", "fail": "NO", "exception": "exception", "not applicable": "-"}


def table(found: Found) -> Table:
    """Subject x law."""
    laws = [finding.law for finding in next(iter(found.values()))]
    result = Table(box=None)
    result.add_column("subject")
    for law in laws:
        result.add_column(str(law), justify="center")
    for name, findings in found.items():
        result.add_row(name, *(MARKS[finding.verdict] for finding in findings))
    return result


def remarks(found: Found) -> list[str]:
    """Render the verdicts, then every reason, every declared miss and every counterexample."""
    laws = [finding.law for finding in next(iter(found.values()))]
    lines = [f"law {law}: {WORDS[law]}" for law in laws]
    for name, findings in found.items():
        lines += [f"{name}, law {one.law}: {one.verdict}: {one.words}" for one in findings if one.words]
    return lines


def as_record(found: Found) -> list[dict[str, Any]]:
    """One entry for each subject and law."""
    return [
        {"subject": name, "law": one.law, "asks": WORDS[one.law], "verdict": one.verdict, "words": one.words}
        for name, findings in found.items()
        for one in findings
    ]
