"""One self-contained HTML page: verdicts, figures, tables, and where every number comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from paper_figures import registry
from paper_figures.analysis import questions, trust
from paper_figures.analysis.entry import Entry
from paper_figures.building import findings
from paper_figures.drawing.table import Table
from paper_figures.records.sources import SOURCES, Records
from paper_figures.report import claims, summary
from paper_figures.report.pictures import Picture, picture
from paper_figures.report.sources import RecordView, folder, of_entry, record_views

TITLE = "RoLoRA: what was checked and what was measured"
HERE = Path(__file__).resolve().parent
CLAIMS = "tab_claims"
"""The table that has filters and an unfolding row a claim."""


@dataclass(frozen=True)
class EntryView:
    """One figure or table as the page shows it.

    Args:
        entry: of the registry.
        missing: why it is not there, or "".
        records: what it is made from.
        trust: tags of the papers' numbers in it.
        picture: of a figure.
        table: of a table.
        claims: of the verdicts.
    """

    entry: Entry
    missing: str
    records: list[RecordView]
    trust: tuple[str, ...] = ()
    picture: Picture | None = None
    table: Table | None = None
    claims: list[claims.ClaimView] = field(default_factory=list)


def page(records: Records) -> str:
    """The whole report.

    Args:
        records: what is there; what is missing is named with the command that makes it.

    Returns:
        HTML that needs no other file and no network; the same records give the same bytes.
    """
    views = record_views(records)
    found = [
        (question, [_view(entry, records, views) for entry in entries])
        for question, entries in questions.grouped(registry.select())
    ]
    checked = claims.views(records["claims"] or [])
    duels = summary.duels(records)
    return _environment().get_template("page.html").render(
        title=TITLE,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        tiles=summary.tiles(records),
        duels=duels,
        score=summary.score(duels),
        reach=summary.reach(duels),
        shows=findings.shows(records) or ["There are no records yet."],
        shows_not=findings.shows_not(records),
        groups=found,
        choices=claims.choices(checked),
        records=views,
        trust=trust.words(),
        folder=folder(records),
    )  # fmt: skip


def _environment() -> Environment:
    """Every text is escaped unless a template calls it safe; a name that is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    made.filters["tone"] = claims.tone
    return made


def _view(entry: Entry, records: Records, views: dict[str, RecordView]) -> EntryView:
    sources = of_entry(entry, views)
    if not entry.available(records):
        return EntryView(entry, _missing(entry, records), sources)
    made = entry.make(records)
    if isinstance(made, Figure):
        return EntryView(entry, "", sources, trust.in_figure(made), picture=picture(made))
    checked = claims.views(records["claims"]) if entry.id == CLAIMS else []
    return EntryView(entry, "", sources, trust.in_table(made), table=made, claims=checked)


def _missing(entry: Entry, records: Records) -> str:
    commands = [SOURCES[kind].shown(folder(records)) for kind in records.missing(entry.needs)]
    return f"Not made: make the records with {' and '.join(commands)}." if commands else "Not made: no such series."
