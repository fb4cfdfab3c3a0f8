"""Command line ``python -m theory``: list, show and check claims, simulate the small models, time the simulation."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import scipy
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from rolora import records
from rolora.cli.errors import one_line_errors
from rolora.errors import InputError
from rolora.records import dump_json, write_json
from theory.verification.claim import Outcome
from theory.verification.display import WIDTH, checked, listed, summary, typeset
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


def main() -> None:
    """Run the command line."""
    app()


@app.command("list")
def list_claims(debug: Debug = False) -> None:
    """List the claims: kind, direction, expected verdict, statement and source."""
    with one_line_errors(debug):
        for claim in registry().values():
            _print(listed(claim))


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="ID", help="The claim to show.")], debug: Debug = False) -> None:
    """Show a claim's fields and the account of its file: assumptions, derivation, control."""
    with one_line_errors(debug):
        (claim,) = select([name])
        for field in ("id", "statement", "kind", "direction", "convention", "expected", "source"):
            print(f"{field + ':':12}{typeset(getattr(claim, field))}")
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
        if json_file is not None:
            write_json(json_file, [outcome.as_record() for outcome in outcomes])
        for outcome in outcomes:
            if isinstance(outcome, Outcome):
                _print(checked(outcome))
        _print(summary(outcomes, None if json_file is None else str(json_file)))
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
            raise InputError(key="--images", got=images, expected="the model nonlinear", where=f"simulate {model}")
        # Imported here, so that checking claims does not depend on what the simulations need.
        study = importlib.import_module(f"theory.studies.{model}")
        experiment = study.experiment
        if model == "nonlinear":
            experiment = partial(experiment, images=study.find_images(images or "digits"))
        start = time.perf_counter()
        with _progress(model) as (bar, task):
            results = experiment(seed, quick, lambda share: bar.update(task, completed=share))
        command = f"python -m theory simulate {model} --seed {seed}" + (" --quick" if quick else "")
        if images is not None:
            # A folder is of one machine; its content is in the record's digest.
            command += f" --images {'DIR' if Path(images).expanduser().is_dir() else images}"
        record = {
            "format": 1,
            "experiment": results.get("experiment", model),
            "parameters": results["parameters"],
            "seed": seed,
            "command": command,
            "environment": environment(),
            "seconds": round(time.perf_counter() - start, 1),
            "series": results["series"],
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
        print(f"Algorithm 2, {sizes}; largest difference of the results {record['difference']:.1e}")
        print(f"{'side':12}{'seconds':>9}{'slower by':>11}  what it does")
        for side, words in (
            ("rounds", "loop over instances and clients, with checked messages"),
            ("script", "plain loop over instances and clients, on the data X_i, Y_i"),
            ("statistics", "the tightest such loop, on the S_i"),
            ("batched", "blocks of instances and all clients in one operation"),
        ):
            ratio = "" if side == "batched" else f"{record['ratio'][side]:.1f} x"
            print(f"{side:12}{seconds[side]:9.3f}{ratio:>11}  {words}")
        print(f"S_i and C_i, made once: {record['statistics_seconds']:.3f} s")
        print(f"batched: {record['flops'] / 1e9:.1f} Gflop/s, {record['bytes'] / 1e9:.1f} GB/s")
        print(
            f"this machine, threads as set: matrix product {machine['matrix_product_flops'] / 1e9:.1f} Gflop/s, "
            f"matrix-vector products\n{machine['cached_bytes'] / 1e9:.1f} GB/s from the cache, "
            f"{machine['streamed_bytes'] / 1e9:.1f} GB/s from memory"
        )
        if json_file is not None:
            write_json(json_file, record | {"environment": environment()})


def environment() -> dict[str, Any]:
    """Return interpreter, machine and package versions for a record.

    Example:
        >>> sorted(environment())
        ['cores', 'packages', 'platform', 'processor', 'python']
    """
    versions = {"numpy": numpy.__version__, "scipy": scipy.__version__}
    return records.environment() | {"packages": versions}


def _print(lines: Iterable[Text]) -> None:
    console = Console(width=WIDTH, highlight=False)
    for line in lines:
        console.print(line, soft_wrap=True)


def _surprise(outcome: Outcome | Failure, debug: bool) -> str:
    if isinstance(outcome, Failure):
        return outcome.traceback if debug else f"{outcome.id}: {outcome.error} (--debug shows where)"
    claim, result = outcome.claim, outcome.result
    text = f"{claim.id}: {result.verdict} at {result.where} (expected {claim.expected}); "
    text += f"control {outcome.control.verdict} (expected refuted)"
    return text + (f"; contrast {outcome.contrast.verdict} (expected holds)" if outcome.contrast else "")


@contextlib.contextmanager
def _progress(name: str) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    console = Console(stderr=True)
    off = not console.is_terminal  # a file or a pipe would keep the line that a terminal takes back
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=off) as bar:
        yield bar, bar.add_task(name, total=1.0)


def _writable(path: Path | None) -> None:
    # Before the work: minutes of computing must not end in an error about the file's name.
    if path is not None and path.is_dir():
        raise InputError(key="--json", got=path, expected=f"a file name such as {path / 'record.json'}, no directory")


if __name__ == "__main__":
    main()
