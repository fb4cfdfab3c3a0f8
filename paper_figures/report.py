"""One self-contained HTML page: verdicts, figures, tables, and where every number comes from."""

from __future__ import annotations

import base64
from html import escape

from paper_figures import findings, registry, render
from paper_figures.compute import SOURCES, Records, provenance
from paper_figures.registry import Entry
from paper_figures.report_parts import SCRIPT, STYLE

TITLE = "RoLoRA: what was checked and what was measured"


def page(records: Records) -> str:
    """The whole report.

    Args:
        records: what is there; what is missing is named with the command that makes it.

    Returns:
        HTML that needs no other file and no network.
    """
    sections = [
        ("summary", "What the records show", _summary(records)),
        *((entry.id, entry.title, _entry(entry, records)) for entry in _ordered()),
        ("records", "Records", _records(records)),
    ]
    links = "".join(f'<li><a href="#{escape(name)}">{escape(title)}</a></li>' for name, title, _ in sections)
    body = "\n".join(
        f'<section id="{escape(name)}"><h2>{escape(title)}</h2>\n{content}</section>'
        for name, title, content in sections
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(TITLE)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n<header><h1>{escape(TITLE)}</h1>\n"
        f"<p>Federated LoRA with alternating factors (arXiv 2502.01755 and 2409.02346), checked on small models. Every "
        f"number on this page is read from a record.</p></header>\n"
        f"<nav><ul>{links}</ul></nav>\n<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body></html>\n"
    )


def _ordered() -> list[Entry]:
    """The verdicts first, then figures, then the other tables."""
    return sorted(registry.ENTRIES, key=lambda entry: (entry.id != "tab_claims", entry.kind != "figure"))


def _summary(records: Records) -> str:
    shown, not_shown = findings.shows(records), findings.shows_not(records)
    if not shown:
        shown = ["There are no records yet."]
    return f"{_list(shown)}<h3>What they do not show</h3>\n{_list(not_shown)}"


def _list(sentences: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in sentences) + "</ul>\n"


def _entry(entry: Entry, records: Records) -> str:
    lead = f"<p>{escape(entry.shows)}</p>\n<p class=note>Counterpart: {escape(entry.counterpart)}.</p>\n"
    if not entry.available(records):
        # An absolute path is of one machine; a relative one is what the reader typed.
        folder = records.directory.name if records.directory.is_absolute() else records.directory
        commands = [SOURCES[kind].shown(folder) for kind in records.missing(entry.needs)]
        text = f"Not made: make the records with {' and '.join(commands)}." if commands else "Not made: no such series."
        return f'{lead}<p class="missing">{escape(text)}</p>\n'
    made = entry.make(records)
    if entry.kind == "figure":
        picture = base64.b64encode(render.image(made, "png")).decode()
        source = f"data:image/png;base64,{picture}"
        content = f'<div class="scroll"><img alt="{escape(entry.title, quote=True)}" src="{source}"></div>\n'
    else:
        content = (_filter(made.marks) if made.marks else "") + made.to_html()
    return f"{lead}{content}{''.join(_provenance(records, kind) for kind in entry.needs)}"


def _filter(marks: tuple[str, ...]) -> str:
    options = "".join(f"<option>{escape(mark)}</option>" for mark in sorted(set(marks)))
    return (
        '<form class="filter"><label>Text <input type="search" data-filter="text"></label> '
        f'<label>Verdict <select data-filter="mark"><option value="">all</option>{options}</select></label> '
        '<output aria-live="polite"></output></form>\n'
    )


def _provenance(records: Records, kind: str) -> str:
    found = provenance(records, kind)
    commands = "".join(f"<li><code>{escape(command)}</code></li>" for command in found.commands)
    seeds = ", ".join(str(seed) for seed in found.seeds) or "not recorded"
    seconds = "not recorded" if found.seconds is None else f"{found.seconds:,.0f} s of computing"
    return (
        f"<details><summary>Made from {escape(found.file)}</summary><ul class=plain>\n"
        f"<li>Seeds: {escape(seeds)}</li><li>Hardware: {escape('; '.join(found.hardware) or 'not recorded')}</li>"
        f"<li>Time: {seconds}</li></ul>\n<ul class=plain>{commands}</ul></details>\n"
    )


def _records(records: Records) -> str:
    rows = []
    for kind, source in SOURCES.items():
        there = "missing" if records.missing([kind]) else "read"
        rows.append(
            f"<tr><td>{escape(kind)}</td><td><code>{escape(source.file)}</code></td><td>{there}</td>"
            f"<td><code>{escape(source.shown('DIR'))}</code></td></tr>"
        )
    return (
        '<div class="scroll"><table><thead><tr><th>kind</th><th>file</th><th>state</th><th>made by</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
    )
