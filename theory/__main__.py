"""``python -m theory``: list, show and check the claims, and simulate the two small models."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import scipy
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rolora import records
from rolora.cli.errors import one_line_errors
from rolora.errors import InputError
from rolora.records import dump_json, write_json
from theory.verification.claim import Outcome
from theory.verification.registry import choose, document, registry, select
from theory.verification.runner import Failure, check_all, usable_cores

app = typer.Typer(
    help="Numerical checks of the convergence claims, and simulations of the linear and non-linear models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID ...]", help="Claims to check; all by default.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here, atomically.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, metavar="N", help="Claims at the same time; by default one a core.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="The seed of all randomness.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
ImageSource = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="digits|hub|DIR",
        help="Of the non-linear model: the packaged digits (default), MNIST of the hub (hub, or hub:OWNER/NAME), or a "
        "folder with MNIST's four idx files, gzipped or not.",
    ),
]

COLOURS = {"refuted": "red", "not run": "yellow"}


def main() -> None:
    """The entry point of ``python -m theory``."""
    app()


@app.command("list")
def list_claims(debug: Debug = False) -> None:
    """The claims, with kind, direction, source and statement."""
    with one_line_errors(debug):
        table = _table("id", "kind", "direction", "expected", "source", "statement")
        for claim in registry().values():
            cells = (claim.id, claim.kind, claim.direction, claim.expected, claim.source, claim.statement)
            table.add_row(*map(Text, cells))
        _console().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="ID", help="The claim to show.")], debug: Debug = False) -> None:
    """A claim's fields and the account that its file gives: assumptions, derivation, control."""
    with one_line_errors(debug):
        (claim,) = select([name])
        for field in ("id", "statement", "kind", "direction", "convention", "expected", "source"):
            print(f"{field + ':':12}{getattr(claim, field)}")
        print(f"\n{document(name)}")


@app.command()
def check(ids: Ids = None, json_file: Json = None, seed: Seed = 0, jobs: Jobs = None, debug: Debug = False) -> None:
    """Check claims; status 1 if a verdict is not the expected one, a control is not refuted, or a check fails to run."""
    with one_line_errors(debug):
        names = choose(ids or [])
        _writable(json_file)
        with _progress("checking") as (bar, task):
            share = 1 / len(names)
            done = lambda name: bar.update(task, advance=share, description=name)  # noqa: E731
            outcomes = check_all(names, seed, jobs or usable_cores(), done)
        _console().print(_verdicts([outcome for outcome in outcomes if isinstance(outcome, Outcome)]))
        if json_file is not None:
            write_json(json_file, [outcome.as_record() for outcome in outcomes])
        failed = [outcome for outcome in outcomes if not outcome.passed]
        for outcome in failed:
            print(_surprise(outcome, debug), file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def simulate(
    model: Annotated[
        Literal["linear", "nonlinear", "contraction", "sample_complexity"],
        typer.Argument(help="One of the two small models, or one study of the linear model."),
    ],
    json_file: Json = None,
    seed: Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A shortened run of the same shape.")] = False,
    images: ImageSource = None,
    debug: Debug = False,
) -> None:
    """Simulate a model; the record goes to --json, or to standard output."""
    with one_line_errors(debug):
        _writable(json_file)
        if model != "nonlinear" and images is not None:
            named = "the linear model" if model == "linear" else model
            raise InputError(f"--images: got {images!r} for {named}, expected it for nonlinear only")
        # Imported here, so that checking claims does not depend on what the simulations need.
        from theory.studies import contraction, sample_complexity
        from theory.studies import linear as linear
        from theory.studies.nonlinear import experiment as nonlinear
        from theory.studies.nonlinear import find_images

        if model == "nonlinear":
            experiment = partial(nonlinear, images=find_images(images or "digits"))
        else:
            studies = {"contraction": contraction, "sample_complexity": sample_complexity}
            experiment = studies.get(model, linear).experiment
        start = time.perf_counter()
        with _progress(model) as (bar, task):
            found = experiment(seed, quick, lambda share: bar.update(task, completed=share))
        command = f"python -m theory simulate {model} --seed {seed}" + (" --quick" if quick else "")
        if images is not None:
            # A folder is of one machine; what lay in it is told by the record's digest.
            command += f" --images {'DIR' if Path(images).expanduser().is_dir() else images}"
        record = {
            "format": 1,
            "experiment": found.get("experiment", model),
            "parameters": found["parameters"],
            "seed": seed,
            "command": command,
            "environment": environment(),
            "seconds": round(time.perf_counter() - start, 1),
            "series": found["series"],
        }
        if json_file is None:
            sys.stdout.write(dump_json(record))
        else:
            write_json(json_file, record)


@app.command("bench")
def run_bench(json_file: Json = None, seed: Seed = 0, debug: Debug = False) -> None:
    """Time the batched simulation against the plain loops on the same instances, and against this machine."""
    with one_line_errors(debug):
        _writable(json_file)
        from theory.studies.speed import bench

        record = bench(seed)
        seconds, machine = record["seconds"], record["machine"]
        sizes = ", ".join(f"{name} {size}" for name, size in record["sizes"].items())
        table = _table("side", "seconds", "batched is faster by", "what it does")
        for side, words in (
            ("rounds", "the specification's loop over instances and clients, with checked messages"),
            ("script", "a plain loop over instances and clients, on the data X_i, Y_i"),
            ("statistics", "the tightest such loop, on the S_i"),
            ("batched", "blocks of instances and all clients in one operation"),
        ):
            ratio = "" if side == "batched" else f"{record['ratio'][side]:.1f} x"
            table.add_row(side, f"{seconds[side]:.3f}", ratio, words)
        console = _console()
        console.print(Text(f"Algorithm 2, {sizes}; largest difference of the results {record['difference']:.1e}"))
        console.print(table)
        console.print(
            Text(
                f"S_i and C_i, made once: {record['statistics_seconds']:.3f} s; "
                f"batched: {record['flops'] / 1e9:.1f} Gflop/s, {record['bytes'] / 1e9:.1f} GB/s; this machine, threads as "
                f"set: matrix product {machine['matrix_product_flops'] / 1e9:.1f} Gflop/s, matrix-vector products "
                f"{machine['cached_bytes'] / 1e9:.1f} GB/s from the cache, {machine['streamed_bytes'] / 1e9:.1f} GB/s from memory"
            )
        )
        if json_file is not None:
            write_json(json_file, record | {"environment": environment()})


def environment() -> dict[str, Any]:
    """What a record's numbers were computed with: interpreter, machine, and the two packages that compute here.

    Example:
        >>> sorted(environment())
        ['cores', 'packages', 'platform', 'processor', 'python']
    """
    versions = {"numpy": numpy.__version__, "scipy": scipy.__version__}
    return records.environment() | {"packages": versions}


def _console(stderr: bool = False) -> Console:
    # Off a terminal rich would fold the table at 80 columns; a file or a pipe has no such edge.
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 240)


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    return table


def _verdicts(outcomes: list[Outcome]) -> Table:
    table = _table("id", "source", "convention", "instances", "measured", "predicted", "verdict", "control")
    for outcome in outcomes:
        claim, result, control = outcome.claim, outcome.result, outcome.control.verdict
        verdict = result.verdict if result.verdict == claim.expected else f"{result.verdict} (not as expected)"
        table.add_row(
            Text(claim.id),
            Text(claim.source),
            Text(claim.convention),
            Text(str(result.instances), justify="right"),
            Text(f"{result.measured:.4g}", justify="right"),
            Text(f"{result.predicted:.4g}", justify="right"),
            Text(verdict, style=COLOURS.get(result.verdict, "green")),
            Text(control, style="green" if control == "refuted" else "red"),
        )
    return table


def _surprise(outcome: Outcome | Failure, debug: bool) -> str:
    if isinstance(outcome, Failure):
        return outcome.traceback if debug else f"{outcome.id}: {outcome.error} (--debug shows where)"
    claim, found = outcome.claim, outcome.result
    text = f"{claim.id}: {found.verdict} at {found.where} (expected {claim.expected}); "
    text += f"control {outcome.control.verdict} (expected refuted)"
    return text + (f"; contrast {outcome.contrast.verdict} (expected holds)" if outcome.contrast else "")


@contextlib.contextmanager
def _progress(name: str) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    console = _console(stderr=True)
    off = not console.is_terminal  # a file or a pipe would keep the line that a terminal takes back
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=off) as bar:
        yield bar, bar.add_task(name, total=1.0)


def _writable(path: Path | None) -> None:
    # Before the work: minutes of computing must not end in an error about the file's name.
    if path is not None and path.is_dir():
        raise InputError(f"--json: got the directory {path}, expected a file name such as {path / 'record.json'}")


if __name__ == "__main__":
    main()
