"""The commands on finished runs and models: ``export``, ``evaluate`` and ``training-rows``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rolora.cli import options
from rolora.cli.errors import one_line_errors
from rolora.cli.tables import console, say


def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Gets the files; empty, or not there yet.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole model with adapter, residual and head in its weights.")
    ] = False,
    client: Annotated[
        int | None, typer.Option(min=0, help="The client, for a method whose clients keep factors.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Write a finished run as files that PEFT (or, merged, transformers) loads, and check them by loading them."""
    with one_line_errors(debug):
        from rolora.experiment.export import export as write

        say(write(run_folder, folder, merged=merged, client=client))


def evaluate(
    model: Annotated[
        str, typer.Argument(help="Packaged name, model folder, hub name, or the folder of a finished run.")
    ],
    benchmark: Annotated[list[str], typer.Option(metavar="NAME", help="Repeatable; commonsense stands for its eight.")],
    data: options.Data = None,
    split: Annotated[str | None, typer.Option(help="The benchmark's own if not given.")] = None,
    how: Annotated[
        str | None,
        typer.Option(help="likelihood, labels, generation, both (likelihood, generation) or all; else its first."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="A random subset, the same for every model.")] = None,
    subject: Annotated[list[str] | None, typer.Option(help="Only this subject of MMLU; repeatable.")] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Worked examples before a question.")] = None,
    template: Annotated[
        str | None, typer.Option(help="plain, alpaca or chat; the benchmark's own if not given.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Of a generated answer.")] = None,
    seed: Annotated[int, typer.Option(help="Of the subset and of drawn examples.")] = 0,
    json_file: options.JsonFile = None,
    against: Annotated[Path | None, typer.Option(metavar="FILE", help="An earlier record, compared in pairs.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float64.")] = "float32",
    threads: Annotated[int, typer.Option(min=1, help="Fixed, so that the bits do not depend on the cores.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at a time.")] = 8,
    execute_generated_code: Annotated[
        bool, typer.Option("--execute-generated-code", help="HumanEval: run what the model writes, isolated.")
    ] = False,
    without_isolation: Annotated[
        bool, typer.Option("--without-isolation", help="Run it though it could write files and open connections.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Evaluate a decoder, or the result of a run, on benchmarks; with --against, compare two records in pairs."""
    with one_line_errors(debug, f"interrupted; {json_file or 'a file given with --json'} has what was finished"):
        from rolora.evaluation.benchmarks import run as command

        command.evaluate(
            console,
            command.Request(
                model=model,
                benchmarks=tuple(benchmark),
                data=data,
                split=split,
                how=how,
                limit=limit,
                subjects=tuple(subject or ()),
                shots=shots,
                template=template,
                max_new_tokens=max_new_tokens,
                seed=seed,
                json_file=json_file,
                against=against,
                device=device,
                dtype=dtype,
                threads=threads,
                batch_size=batch_size,
                execute=execute_generated_code,
                unisolated=without_isolation,
            ),
            sys.argv[2:],
        )


def training_rows(
    benchmark: Annotated[list[str], typer.Argument(metavar="BENCHMARK ...", help="With training rows: see list.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines with the columns prompt and response.")],
    data: options.Data = None,
    template: Annotated[str | None, typer.Option(help="plain or alpaca; the benchmark's own if not given.")] = None,
    debug: options.Debug = False,
) -> None:
    """Write the training rows of benchmarks as prompts and responses, in the wording of their evaluation."""
    with one_line_errors(debug):
        from rolora.evaluation.benchmarks import run as command

        say(command.write_training_rows(benchmark, data, template, out))
