"""``python -m theory``: list and check the claims, and simulate the two small models."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
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
from rolora.command_line import one_line_errors
from rolora.errors import InputError
from rolora.records import dump_json, write_json
from theory.claim import Outcome, registry, run, select

app = typer.Typer(
    help="Numerical checks of the convergence claims, and simulations of the linear and non-linear models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID ...]", help="Claims to check; all by default.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here, atomically.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="The seed of all randomness.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

COLOURS = {"refuted": "red", "not run": "yellow"}


def main() -> None:
    """The entry point of ``python -m theory``."""
    app()


@app.command("list")
def list_claims(debug: Debug = False) -> None:
    """The claims, with kind, source and statement."""
    with one_line_errors(debug):
        table = _table("id", "kind", "expected", "source", "statement")
        for claim in registry().values():
            table.add_row(*map(Text, (claim.id, claim.kind, claim.expected, claim.source, claim.statement)))
        _console().print(table)


@app.command()
def check(ids: Ids = None, json_file: Json = None, seed: Seed = 0, debug: Debug = False) -> None:
    """Check claims and their controls; status 1 if a verdict is not the expected one or a control is not refuted."""
    with one_line_errors(debug):
        claims = select(ids or [])
        _writable(json_file)
        outcomes = []
        with _progress("checking") as (bar, task):
            for number, claim in enumerate(claims):
                bar.update(task, completed=number / len(claims), description=claim.id)
                outcomes.append(run(claim, seed))
        _console().print(_verdicts(outcomes))
        if json_file is not None:
            write_json(json_file, [outcome.as_record() for outcome in outcomes])
        failed = [outcome for outcome in outcomes if not outcome.passed]
        for outcome in failed:
            found, control = outcome.result, outcome.control.verdict
            _console(stderr=True).print(
                Text(
                    f"{outcome.claim.id}: {found.verdict} at {found.where} (expected {outcome.claim.expected}); "
                    f"control {control} (expected refuted)"
                )
            )
    if failed:
        raise typer.Exit(1)


@app.command()
def simulate(
    model: Annotated[Literal["linear", "nonlinear"], typer.Argument(help="Which of the two small models.")],
    json_file: Json = None,
    seed: Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A shortened run of the same shape.")] = False,
    debug: Debug = False,
) -> None:
    """Simulate a model; the record goes to --json, or to standard output."""
    with one_line_errors(debug):
        _writable(json_file)
        # Imported here, so that checking claims does not depend on what the simulations need.
        if model == "linear":
            from theory.simulate import experiment
        else:
            from theory.nonlinear import experiment
        start = time.perf_counter()
        with _progress(model) as (bar, task):
            found = experiment(seed, quick, lambda share: bar.update(task, completed=share))
        command = f"python -m theory simulate {model} --seed {seed}" + (" --quick" if quick else "")
        record = {
            "format": 1,
            "experiment": model,
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
        from theory.bench import bench

        record = bench(seed)
        seconds, machine = record["seconds"], record["machine"]
        sizes = ", ".join(f"{name} {size}" for name, size in record["sizes"].items())
        table = _table("side", "seconds", "batched is faster by", "what it does")
        for side, words in (
            ("rounds", "the specification: a checked message a client and round"),
            ("loop", "a bare NumPy loop over instances and clients"),
            ("batched", "blocks of instances and all clients in one operation"),
        ):
            ratio = "" if side == "batched" else f"{record['ratio'][side]:.1f} x"
            table.add_row(side, f"{seconds[side]:.3f}", ratio, words)
        console = _console()
        console.print(Text(f"Algorithm 2, {sizes}; largest difference of the results {record['difference']:.1e}"))
        console.print(table)
        console.print(
            Text(
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


@contextlib.contextmanager
def _progress(name: str) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=_console(stderr=True), transient=True) as bar:
        yield bar, bar.add_task(name, total=1.0)


def _writable(path: Path | None) -> None:
    # Before the work: minutes of computing must not end in an error about the file's name.
    if path is not None and path.is_dir():
        raise InputError(f"--json: got the directory {path}, expected a file name such as {path / 'record.json'}")


if __name__ == "__main__":
    main()
