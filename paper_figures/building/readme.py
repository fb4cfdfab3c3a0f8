"""The parts of README.md that are made from records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from paper_figures import registry
from paper_figures.building import file_tree, findings
from paper_figures.records.sources import Records
from paper_figures.tables import tab_claims
from rolora.errors import InputError

README = Path(__file__).resolve().parents[2] / "README.md"

CLAIM_COLUMNS = ("claim", "source", "measured", "predicted", "verdict", "control")

NOTHING = "Not made yet: there are no records. `python -m paper_figures list` names the commands that make them.\n"


def claims(records: Records) -> str:
    """The verdicts on what the papers say, without the statements, and where the others are."""
    if not records["claims"]:
        return NOTHING
    papers = tuple(claim for claim in records["claims"] if not claim["source"].lower().startswith("derived here"))
    table = tab_claims.table(records.having(claims=list(papers))).select(CLAIM_COLUMNS)
    notes = (tab_claims.summary(records), f"Shown: {len(papers)} that stand in the papers or are read out of them.")
    table = replace(table, notes=(*notes, *table.notes[1:]))
    count = len(records["claims"])
    return f"{table.to_markdown()}\nAll {count}, with their statements: [tab_claims](paper_figures/rendered/tab_claims.md).\n"


def results(records: Records) -> str:
    """The table of fine-tuning, and what the records of training say."""
    table = _table(records, "tab_finetuning", None)
    # The claims have a table of their own below.
    sentences = findings.shows(records.having(claims=None, linear=None))
    said = f"What the records show:\n\n{findings.bullets(sentences)}\n" if sentences else ""
    return f"{table}\n{said}What they do not show:\n\n{findings.bullets(findings.shows_not(records))}"


def figures(records: Records) -> str:
    """Every figure that can be drawn, with what it shows."""
    available = [entry for entry in registry.select() if entry.kind == "figure" and entry.available(records)]
    if not available:
        return NOTHING
    return "\n".join(
        f"![{entry.title}](paper_figures/rendered/{entry.id}.png)\n\n*{findings.plain(entry.title)}.* {findings.plain(entry.shows)} "
        f"Counterpart: {findings.plain(entry.counterpart)}.\n"
        for entry in available
    )


def tree(records: Records) -> str:
    """The file tree, which needs no records."""
    return file_tree.markdown()


def conformance(records: Records) -> str:
    """Every method against every law, with the reasons; and what was found of other packages."""
    tables = [_table(records, name, None) for name in ("tab_conformance", "tab_conformance_foreign")]
    return "\n".join(text for text in tables if text != NOTHING) or NOTHING


def engines(records: Records) -> str:
    """The speed of the engines."""
    return _table(records, "tab_engines", None)


def gpu(records: Records) -> str:
    """Speed and memory of large architectures on a GPU."""
    tables = [_table(records, name, None) for name in ("tab_gpu_speed", "tab_gpu_memory")]
    return "\n".join(text for text in tables if text != NOTHING) or NOTHING


SECTIONS: dict[str, Callable[[Records], str]] = {
    "claims": claims,
    "conformance": conformance,
    "engines": engines,
    "figures": figures,
    "gpu": gpu,
    "results": results,
    "tree": tree,
}
"""Marker -> what stands between its two comments."""


def _table(records: Records, name: str, columns: tuple[str, ...] | None) -> str:
    (entry,) = registry.select([name])
    if not entry.available(records):
        return NOTHING
    table = entry.make(records)
    return (table.select(columns) if columns else table).to_markdown()


def fill(text: str, records: Records, where: Path) -> str:
    """The README with everything between its markers made anew.

    Raises:
        InputError: a marker is missing, stands twice, or its end comes before its beginning.
    """
    for name, make in SECTIONS.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputError(f"{where}: expected one {begin} and one {end} after it")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{make(records)}{end}{after}"
    return text
