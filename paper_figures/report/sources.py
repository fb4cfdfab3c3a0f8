"""Provenance of a page's numbers: records with their digests, commands, seeds, hardware and time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paper_figures.analysis.entry import Entry
from paper_figures.building import freshness
from paper_figures.records.sources import SOURCES, Records, provenance

MINUTE, HOUR = 60, 3600
"""Seconds."""


@dataclass(frozen=True)
class RecordView:
    """One kind of record as a page shows it; what a record does not say is empty.

    Args:
        kind: its name.
        file: below the records directory; a pattern where there is one file a run.
        there: whether it was read.
        files: name -> digest.
        digest: of all files together.
        command: makes the whole kind.
        given: what a reader has to put into the command, or "".
        commands: as the records themselves name them.
        seeds: in words.
        hardware: in words.
        time: in words.
    """

    kind: str
    file: str
    there: bool
    files: dict[str, str]
    digest: str
    command: str
    given: str
    commands: tuple[str, ...]
    seeds: str
    hardware: str
    time: str


def record_views(records: Records) -> dict[str, RecordView]:
    """Kind -> how it is shown, every kind that there is, read or not."""
    return {kind: _view(records, kind) for kind in SOURCES}


def of_entry(entry: Entry, views: dict[str, RecordView]) -> list[RecordView]:
    """The records that one figure or table is made from."""
    return [views[kind] for kind in dict.fromkeys((*entry.needs, *entry.uses)) if views[kind].there]


def folder(records: Records) -> str:
    """The records directory as a reader may know it: an absolute path is of one machine."""
    return records.directory.name if records.directory.is_absolute() else str(records.directory)


def _view(records: Records, kind: str) -> RecordView:
    source = SOURCES[kind]
    command, given = source.shown(folder(records)), source.given or ""
    if records.missing([kind]):
        return RecordView(kind, source.file, False, {}, "", command, given, (), "", "", "")
    found, files = provenance(records, kind), freshness.record_digests(records, [kind])
    made = () if found.commands == (source.shown(Path("DIR")),) else found.commands
    return RecordView(
        kind=kind,
        file=found.file,
        there=True,
        files=files,
        digest=freshness.digest("\n".join(f"{name} {one}" for name, one in files.items()).encode()),
        command=command,
        given=given,
        commands=made,
        seeds=", ".join(str(seed) for seed in found.seeds),
        hardware="; ".join(found.hardware),
        time="" if found.seconds is None else duration(found.seconds),
    )


def duration(seconds: float) -> str:
    """A time of computing in words.

    Example:
        >>> duration(7.25), duration(754.0), duration(5000)
        ('7.2 s', '12 min 34 s', '1 h 23 min')
    """
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"
