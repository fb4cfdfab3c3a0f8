"""The commands that train: ``run`` and ``sweep``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rolora import config as configuration
from rolora.cli import options, tables
from rolora.cli.errors import one_line_errors
from rolora.cli.tables import console
from rolora.errors import InputError


@contextmanager
def _processes(debug: bool) -> Iterator[None]:
    """Join the other processes of the command, if torchrun started several; only the first one prints."""
    from rolora.training import process_group

    with (
        process_group.leaving_together(),
        one_line_errors(debug, options.INTERRUPTED, process_group.should_report_failure),
    ):
        process_group.join()
        console.quiet = not process_group.is_first()
        yield


def run(
    config: options.ConfigFile,
    overrides: options.Overrides = None,
    out: options.Out = Path("runs"),
    resume: options.Resume = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Load and check everything, train nothing.")] = False,
    jobs: options.Jobs = 1,
    together: options.Together = False,
    track: options.Track = None,
    debug: options.Debug = False,
) -> None:
    """Run the experiment of a config, or all of its grid. A finished run is not run again."""
    with _processes(debug):
        configs = configuration.read(configuration.locate(config), overrides)
        if dry_run:
            for experiment in configs:
                console.print(tables.dry_run(experiment))
            return
        from rolora.experiment.parallel import run_all

        records = run_all(configs, out, resume, jobs, console, together, track or ())
        console.print(tables.results(records))
        tables.say(tables.next_steps(records, out))


def sweep(
    config: options.ConfigFile,
    overrides: options.Overrides = None,
    out: Annotated[Path, typer.Option(help="Each run gets a folder in here, and the sweep its sweep.json.")] = Path(
        "sweep"
    ),
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,...", help="A grid; the learning rate is selected, the rest is compared."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Each is measured on test data.")] = "0,1,2",
    select_seed: Annotated[
        str | None, typer.Option(help="Select the rate with it; the first seed if not given.")
    ] = None,
    select: Annotated[
        str, typer.Option(help="The round that counts: last, or the best on validation data.")
    ] = "validation",
    papers_protocol: Annotated[
        bool,
        typer.Option("--papers-protocol", help="Also select round and rate on test data, over all rates and seeds."),
    ] = False,
    reference: Annotated[str | None, typer.Option(help="The method that others are compared with.")] = None,
    resume: options.Resume = False,
    jobs: options.Jobs = 1,
    together: options.Together = False,
    track: options.Track = None,
    debug: options.Debug = False,
) -> None:
    """Compare methods: learning rates selected on validation data, then every seed measured once on test data."""
    with _processes(debug):
        from rolora import records
        from rolora.experiment import sweep as sweeping
        from rolora.experiment import sweep_report, tracking
        from rolora.experiment.parallel import run_all
        from rolora.planning.estimate import estimate_runs
        from rolora.training import process_group

        numbers = options.whole_numbers("--seeds", seeds)
        choosers = options.whole_numbers("--select-seed", select_seed) if select_seed else numbers[:1]
        if select not in ("last", "validation"):
            raise InputError(key="--select", got=select, expected="last or validation; for test, --papers-protocol")
        protocol = sweeping.Protocol(numbers, choosers, select, papers_protocol, reference)
        cells = sweeping.read(configuration.locate(config), overrides or [], over or [])
        sweep_report.check_reference(cells, protocol)
        tracking.check(track or ())
        cost = sweeping.announce(cells, protocol, partial(estimate_runs, out=out, jobs=jobs))
        tables.say(f"{len(cells)} cell{'s' * (len(cells) > 1)}; {cost}")
        choices = sweeping.sweep(
            cells,
            protocol,
            lambda configs: run_all(configs, out, resume, jobs, console, together, track or ()),
            tables.say,
        )
        record = sweep_report.as_record(choices, protocol)
        if process_group.is_first():
            records.write_json(out / "sweep.json", record)
        console.print(sweep_report.table(record))
