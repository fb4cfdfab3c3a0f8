"""``python -m paper_figures``: figures, tables, report, README and notebooks from records, and the studies that make records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from paper_figures import registry
from paper_figures.building import freshness, render
from paper_figures.records import sources
from paper_figures.records.sources import COMMITTED, SOURCES, Records
from rolora.cli.errors import one_line_errors
from rolora.errors import InputError
from rolora.records import write_bytes

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
console = Console(soft_wrap=True, highlight=False, markup=False)

RecordsOption = Annotated[
    Path, typer.Option("--records", metavar="DIR", help="Records; the committed ones by default.")
]
Beside = Annotated[
    Path | None, typer.Option("--beside", metavar="DIR", help="Other records, for kinds that the first have none of.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files are.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID ...]", help="Figures and tables; all by default.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback instead of one line.")]
REPORT = "report.html"


@app.command("list")
def list_(records: RecordsOption = COMMITTED, debug: Debug = False) -> None:
    """Name every figure and table, what it answers, and whether its records are there."""
    with one_line_errors(debug):
        found = sources.load(records)
        absent = [kind for kind, content in found.items() if not content]
        table = Table(box=None)
        for name in ("id", "title", "counterpart", "records"):
            table.add_column(name, no_wrap=name == "id", overflow="fold")
        for entry in registry.select():
            state = "there" if entry.available(found) else "no such series"
            missing = found.missing(entry.needs)
            table.add_row(
                entry.id, entry.title, entry.counterpart, f"missing: {', '.join(missing)}" if missing else state
            )
        Console(width=None if console.is_terminal else 200).print(table)
        for kind in absent:
            console.print(f"{kind} records are made by: {SOURCES[kind].shown(records)}")


@app.command()
def build(
    ids: Ids = None,
    records: RecordsOption = COMMITTED,
    out: OutOption = render.RENDERED,
    beside: Beside = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Make the records anew first.")] = False,
    debug: Debug = False,
) -> None:
    """Draw figures and write tables. Without ID: all whose records are there, and the others are named."""
    with one_line_errors(debug):
        entries = registry.select(ids or [])
        if recompute:
            sources.recompute({kind for entry in entries for kind in entry.needs}, records)
        found = sources.load(records, beside)
        noted = freshness.read(out) if ids else {}
        for entry in entries:
            if not ids and not entry.available(found):
                console.print(f"{entry.id}: left out, no records of {', '.join(entry.needs)}")
                continue
            for name, content in render.files(entry, found).items():
                write_bytes(out / name, content)
                console.print(str(out / name))
            noted[entry.id] = freshness.made_from(entry, found)
        write_bytes(out / freshness.NAME, freshness.written(noted))


@app.command()
def check(
    ids: Ids = None, records: RecordsOption = COMMITTED, out: OutOption = render.RENDERED, debug: Debug = False
) -> None:
    """Make everything again in memory and compare with the files; status 1 if they are out of step.

    Every fault names the file, and the record, module or library that has changed since it was made.
    """
    with one_line_errors(debug):
        found = sources.load(records)
        entries = [entry for entry in registry.select(ids or []) if ids or entry.available(found)]
        wanted = {entry.id: render.files(entry, found) for entry in entries}
        noted = freshness.read(out)
        faults = [
            fault
            for entry in entries
            for fault in freshness.faults(
                entry.id, wanted[entry.id], noted.get(entry.id), freshness.made_from(entry, found), out
            )
        ]
        if not ids:
            faults += _report_faults(found, out) + freshness.surplus(wanted, noted, out, {REPORT})
        for fault in faults:
            console.print(fault)
        if not faults:
            count = sum(len(files) for files in wanted.values()) + (not ids and (out / REPORT).exists())
            console.print(f"{count} files are in step with {records}")
    if faults:
        console.print(f"mend with: python -m paper_figures build --records {records} --out {out}")
        raise typer.Exit(1)


def _report_faults(records: Records, out: Path) -> list[str]:
    """The report is made by a command of its own: it is compared only where one lies."""
    from paper_figures import report

    path = out / REPORT
    if not path.exists() or path.read_bytes() == report.page(records).encode():
        return []
    return [f"{path}: out of step; mend with: python -m paper_figures report"]


@app.command("report")
def report_(
    records: RecordsOption = COMMITTED,
    beside: Beside = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The HTML file.")] = render.RENDERED / REPORT,
    debug: Debug = False,
) -> None:
    """Write the self-contained HTML report."""
    from paper_figures import report

    with one_line_errors(debug):
        if out.is_dir():
            raise InputError(f"--out: got the directory {out}, expected a file name such as {out / REPORT}")
        write_bytes(out, report.page(sources.load(records, beside)).encode())
        console.print(str(out))


@app.command()
def study(
    scale: Annotated[str, typer.Argument(help="cpu or gpu.")] = "cpu",
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="One kind of record; repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Records; runs/study/SCALE if not given.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The data as files; the hub if not given.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, each in a process.")] = 1,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it would take, and stop.")] = False,
    debug: Debug = False,
) -> None:
    """Make the studies' records again; what is finished is read, not run."""
    with one_line_errors(debug, "interrupted; the same command goes on"):
        from paper_figures.records import studies

        folder = out or Path("runs/study") / scale
        studies.run(studies.steps(scale, only or ()), folder, data, jobs, console.print, only_estimate=estimate)


@app.command("readme")
def readme_(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; status 1 if out of step.")] = False,
    records: RecordsOption = COMMITTED,
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="The project's folder.")] = freshness.ROOT,
    debug: Debug = False,
) -> None:
    """Replace what is between the markers of the READMEs by what the records and the config's schema say."""
    from paper_figures.building import readme

    with one_line_errors(debug):
        changed = readme.stale(root, sources.load(records), check)
    _in_step(changed if check else [], "python -m paper_figures readme")


@app.command("notebooks")
def notebooks_(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME ...]", help="01, 03_interference, ...; all by default.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; status 1 if out of step.")] = False,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where they lie.")] = freshness.ROOT
    / "notebooks",
    debug: Debug = False,
) -> None:
    """Execute every notebook's .py into its .ipynb."""
    from paper_figures.notebook_support import execute

    with one_line_errors(debug):
        stale = []
        for source in execute.sources(folder, names or ()):
            path = source.with_suffix(".ipynb")
            # What can be seen without a kernel is seen first.
            text = execute.executed(source) if not check or execute.same_source(source) else None
            if not check:
                write_bytes(path, text.encode())
            elif text is None or not execute.in_step(text, path):
                stale.append(path)
                continue
            console.print(f"{path}: in step" if check else str(path))
        alone = [] if names else execute.orphans(folder)
        for path in alone:
            console.print(f"{path}: got a notebook without {path.with_suffix('.py').name}, its source")
    _in_step(stale, "python -m paper_figures notebooks")
    if alone:
        raise typer.Exit(1)


def _in_step(stale: list[Path], command: str) -> None:
    for path in stale:
        console.print(f"{path}: out of step with the records; mend with: {command}")
    if stale:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m paper_figures")
