"""The parts of the READMEs that are made from records and from the config's schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from paper_figures import registry
from paper_figures.building import findings
from paper_figures.records.sources import Records
from paper_figures.tables import tab_claims
from rolora.config import reference
from rolora.errors import InputError
from rolora.records import write_bytes

ROOT = Path(__file__).resolve().parents[2]

CLAIM_COLUMNS = ("claim", "source", "measured", "predicted", "verdict", "control")

NOTHING = "Not made yet: there are no records. `python -m paper_figures list` names the commands that make them.\n"


def claims(records: Records) -> str:
    """Return the verdicts on what the papers say, without the statements, and where the others are."""
    if not records["claims"]:
        return NOTHING
    papers = tuple(claim for claim in records["claims"] if not claim["source"].lower().startswith("derived here"))
    table = tab_claims.table(records.having(claims=list(papers))).select(CLAIM_COLUMNS)
    notes = (tab_claims.summary(records), f"Shown: {len(papers)} that stand in the papers or are read out of them.")
    table = replace(table, notes=(*notes, *table.notes[1:]))
    link = "[tab_claims](../paper_figures/rendered/tab_claims.md)"
    return f"{table.to_markdown()}\nAll {len(records['claims'])}, with their statements: {link}.\n"


def results(records: Records) -> str:
    """Return the table of fine-tuning, and what the records of training show and do not show."""
    sentences = findings.shows(records.having(claims=None, linear=None))
    shown = f"What the records show:\n\n{findings.bullets(sentences)}\n" if sentences else ""
    return f"{_tables(records, 'tab_finetuning')}\n{shown}What they do not show:\n\n{findings.bullets(findings.shows_not(records))}"


def gallery(records: Records) -> str:
    """Return every figure that can be drawn, with what it shows."""
    available = [entry for entry in registry.select() if entry.kind == "figure" and entry.available(records)]
    return (
        "\n".join(
            f"![{entry.title}](rendered/{entry.id}.png)\n\n*{findings.plain(entry.title)}.* {findings.plain(entry.shows)} "
            f"Counterpart: {findings.plain(entry.counterpart)}.\n"
            for entry in available
        )
        or NOTHING
    )


def tables(records: Records) -> str:
    """Return a line for every table that can be made."""
    available = [entry for entry in registry.select() if entry.kind == "table" and entry.available(records)]
    return (
        "".join(
            f"- [{findings.plain(entry.title)}](rendered/{entry.id}.md): {findings.plain(entry.shows)}\n"
            for entry in available
        )
        or NOTHING
    )


DOCUMENTS: dict[str, dict[str, Callable[[Records], str]]] = {
    "README.md": {"findings": lambda records: findings.bullets(findings.headline(records)) or NOTHING},
    "rolora/README.md": {
        "configuration": lambda records: reference.table(),
        "conformance": lambda records: _tables(records, "tab_conformance", "tab_conformance_foreign"),
        "engines": lambda records: _tables(records, "tab_engines"),
        "gpu": lambda records: _tables(records, "tab_gpu_speed", "tab_gpu_memory"),
    },
    "theory/README.md": {"claims": claims},
    "paper_figures/README.md": {"gallery": gallery, "results": results, "tables": tables},
}
"""Document -> marker -> what stands between its two comments."""


def _tables(records: Records, *names: str) -> str:
    made = [entry.make(records).to_markdown() for entry in registry.select(names) if entry.available(records)]
    return "\n".join(made) or NOTHING


def stale(root: Path, records: Records, check: bool) -> list[Path]:
    """Fill the markers of every document of a project, and return the documents that were out of step.

    Args:
        root: the project's folder.
        records: what the numbers come from.
        check: write nothing.

    Raises:
        InputError: a document or one of its markers is missing.
    """
    changed = []
    for name, sections in DOCUMENTS.items():
        path = root / name
        if not path.is_file():
            raise InputError(key="--root", got=str(root), expected=f"a folder with {name} in it")
        text = path.read_text(encoding="utf-8")
        filled = fill(text, sections, records, path)
        if filled != text:
            changed.append(path)
            if not check:
                write_bytes(path, filled.encode())
    return changed


def fill(text: str, sections: dict[str, Callable[[Records], str]], records: Records, where: Path) -> str:
    """Return a document with everything between its markers made anew.

    Raises:
        InputError: a marker is missing, stands twice, or its end comes before its beginning.
    """
    for name, make in sections.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputError(f"{where}: expected one {begin} and one {end} after it")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{make(records)}{end}{after}"
    return text
