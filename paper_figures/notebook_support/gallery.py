"""Registry entries one below another in a notebook: those that answer a paper's table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from matplotlib.figure import Figure

from paper_figures import registry
from paper_figures.analysis.entry import Entry
from paper_figures.building import findings, render
from paper_figures.records.sources import SOURCES, Records

PRINTED_TABLE = re.compile(r"\bTables? \d")
"""A table of a paper in the words of a counterpart."""


def answers_a_table(entry: Entry) -> bool:
    """Return True if an entry's counterpart is a table of one of the papers.

    Example:
        >>> "tab_paper_table1" in [entry.id for entry in registry.select() if answers_a_table(entry)]
        True
    """
    return PRINTED_TABLE.search(entry.counterpart) is not None


def papers_tables(entries: Iterable[Entry] | None = None) -> list[Entry]:
    """Return the entries (of the registry by default) that answer a paper's table, tables before figures."""
    known = registry.select() if entries is None else entries
    return sorted(filter(answers_a_table, known), key=lambda entry: entry.kind != "table")


def show_papers_tables(records: Records, entries: Iterable[Entry] | None = None) -> None:
    """Show every entry that answers a paper's table as outputs of the cell: a heading, and a table or a picture.

    Args:
        records: what is there; an entry without its records says which command makes them.
        entries: figures and tables; those of the registry by default.
    """
    from IPython.display import display

    for entry in papers_tables(entries):
        for output in outputs(entry, records):
            display(output)


def outputs(entry: Entry, records: Records) -> list[Any]:
    """Heading, and table or picture, of one entry."""
    from IPython.display import Image, Markdown

    heading = f"### {findings.plain(entry.title)}\n\nAnswers {findings.plain(entry.counterpart)}. {findings.plain(entry.shows)}"
    if not entry.available(records):
        commands = [SOURCES[kind].shown("DIR") for kind in records.missing(entry.needs)]
        made = f"needs the records of `{'`, `'.join(commands)}`" if commands else "its records hold no such runs"
        return [Markdown(f"{heading}\n\n**Not made here:** {made}.")]
    made = entry.make(records)
    if isinstance(made, Figure):
        return [Markdown(heading), Image(render.image(made, "png"))]
    return [Markdown(f"{heading}\n\n{made.to_markdown()}")]
