"""The commands that train nothing: ``conformance``, ``plan``, ``list``, and those on configs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from rolora import config as configuration
from rolora.cli import options
from rolora.cli.errors import one_line_errors
from rolora.cli.tables import console

config_app = typer.Typer(no_args_is_help=True, help="Write, show and explain configs.")


def conformance(
    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD ...]", help="All by default.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:ATTRIBUTE", help="Foreign aggregators instead of the methods here; repeatable."),
    ] = None,
    json_file: options.JsonFile = None,
    debug: options.Debug = False,
) -> None:
    """Check methods, or other aggregators, against the laws; status 1 if a law fails."""
    from rolora import records
    from rolora.conformance import report

    with one_line_errors(debug):
        by_subject = report.foreign(against) if against else report.ours(methods or [])
        console.print(report.table(by_subject))
        for line in report.remarks(by_subject):
            console.print(line, markup=False, highlight=False)
        if json_file is not None:
            records.write_json(json_file, report.as_record(by_subject))
    if any(finding.verdict == "fail" for findings in by_subject.values() for finding in findings):
        raise typer.Exit(1)


def plan(
    config: options.ConfigFile,
    overrides: options.Overrides = None,
    json_file: options.JsonFile = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean length of a batch; model.max_length if not given.")
    ] = None,
    group_size: Annotated[int | None, typer.Option(min=1, help="Clients that are trained together.")] = None,
    flops_per_second: Annotated[
        float | None, typer.Option(min=1, help="Speed for the estimated time; measured if not given.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Estimate the cost of each run of a config: bytes, memory, operations, time. Loads no weights and no data."""
    with one_line_errors(debug):
        from rolora import records
        from rolora.planning import plan as planning
        from rolora.planning.tables import render

        plans = [
            planning.plan(experiment, tokens=tokens, group_size=group_size, flops_per_second=flops_per_second)
            for experiment in configuration.read(configuration.locate(config), overrides)
        ]
        for table in render(plans):
            console.print(table, "")
        if json_file is not None:
            records.write_json(json_file, [plan.as_dict() for plan in plans])


def list_() -> None:
    """List algorithms, packaged configs, models, data, partitions, and benchmarks."""
    from rolora.algorithms import ALGORITHMS
    from rolora.config.layer_budgets import LAYERS_BY_NAME
    from rolora.data import BENCHMARKS, NAMES, PACKAGED_DATA
    from rolora.data.partition import PARTITIONS
    from rolora.evaluation import benchmarks
    from rolora.models.architectures import ARCHITECTURES
    from rolora.models.backbone import PACKAGED_MODELS

    table = Table(box=None)
    table.add_column("what")
    table.add_column("names")
    table.add_row("algorithms", ", ".join(ALGORITHMS))
    table.add_row("configs", ", ".join(configuration.packaged_configs()))
    table.add_row("models", ", ".join(PACKAGED_MODELS) + ", or a local folder, or a hub name")
    table.add_row("shapes", ", ".join(ARCHITECTURES) + ' (for plans, and for model.weights = "random")')
    table.add_row("layers", ", ".join(LAYERS_BY_NAME) + ", or numbers")
    table.add_row("data", ", ".join(PACKAGED_DATA) + ", or a local file or folder, or a hub name with its owner")
    table.add_row("", "of the hub: " + ", ".join(NAMES))
    table.add_row("", "files or folders of, with data.benchmark: " + ", ".join(BENCHMARKS))
    table.add_row("partitions", ", ".join(PARTITIONS))
    measured = [*benchmarks.BENCHMARKS, *(f"{name} (several)" for name in benchmarks.GROUPS)]
    table.add_row("benchmarks", ", ".join(measured) + " (evaluate)")
    console.print(table)


@config_app.command()
def new(
    task: Annotated[
        Literal["classification", "generation", "regression"], typer.Option(help="What the model learns.")
    ] = "classification",
    model: Annotated[
        str | None, typer.Option(help="Packaged name, folder, or hub name; a packaged one if not given.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Packaged name, file, folder, or hub name; a packaged one if not given.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Print a complete config with all keys explained, to be changed and run: rolora config new > my.toml."""
    with one_line_errors(debug):
        from rolora.config import reference

        print(reference.starting_config(task, model, data), end="")


@config_app.command()
def show(
    name: Annotated[Path, typer.Argument(metavar="CONFIG", help="Name of a packaged config, or a TOML file.")],
    resolved: Annotated[bool, typer.Option("--resolved", help="With the keys of its base.")] = False,
    debug: options.Debug = False,
) -> None:
    """Print a packaged config."""
    with one_line_errors(debug):
        from rolora.config import reading, reference

        path = configuration.locate(name)
        print(reference.toml(reading.resolve_base(path)) if resolved else path.read_text(encoding="utf-8"), end="")


@config_app.command("reference")
def reference_() -> None:
    """Print all keys of a config as a Markdown table: type, default, meaning."""
    from rolora.config import reference

    print(reference.table(), end="")
