"""``python -m rolora``: run federated fine-tuning, list what there is."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rolora import config as configuration
from rolora.algorithms import ALGORITHMS
from rolora.cli import deployment as deployment
from rolora.cli import errors
from rolora.cli.errors import one_line_errors
from rolora.config import Config, locate, packaged_configs
from rolora.data.partition import PARTITIONS
from rolora.errors import InputError
from rolora.evaluation.selection import primary
from rolora.experiment.parallel import run_all
from rolora.experiment.progress import named
from rolora.training import process_group

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
console = Console(width=None if sys.stdout.isatty() else 160)  # a file has no edge at 80 columns

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback instead of one line.")]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="TRACKER", help="Also log to tensorboard, mlflow or wandb, as these are set up; repeatable."),
]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="TOML file, the name of a packaged config, or a run's record.json.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value ...")] = None,
    out: Annotated[Path, typer.Option(help="Each run gets a folder in here.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with unfinished runs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Load and check everything, train nothing.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs of a grid at the same time, each in a process.")] = 1,
    together: Annotated[
        bool, typer.Option("--together", help="With the batched engine: runs of a grid in lockstep on one backbone.")
    ] = False,
    track: Track = None,
    debug: Debug = False,
) -> None:
    """Run the experiment of a config, or all of its grid. A finished run is not run again."""
    advice = "interrupted; the same command with --resume goes on"
    with process_group.leaving_together(), one_line_errors(debug, advice, process_group.speaks):
        process_group.join()
        console.quiet = not process_group.is_first()
        configs = configuration.read(locate(config), overrides)
        if dry_run:
            for one in configs:
                summarise(one)
            return
        records = run_all(configs, out, resume, jobs, console, together, track or ())
        console.print(results_table(records))


@app.command()
def sweep(
    config: Annotated[Path, typer.Argument(help="TOML file, the name of a packaged config, or a run's record.json.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value ...")] = None,
    out: Annotated[Path, typer.Option(help="Each run gets a folder in here, and the sweep its sweep.json.")] = Path(
        "sweep"
    ),
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,...", help="A grid; of learning rates one is chosen, the rest is compared."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Measured on test text, all of them.")] = "0,1,2",
    select_seed: Annotated[str | None, typer.Option(help="Choose the rate; the first seed if not given.")] = None,
    select: Annotated[
        str, typer.Option(help="The round that counts: last, or the best on validation text.")
    ] = "validation",
    papers_protocol: Annotated[
        bool,
        typer.Option("--papers-protocol", help="Also the best round and rate on test text: every rate, every seed."),
    ] = False,
    reference: Annotated[str | None, typer.Option(help="The method that others are compared with.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with unfinished runs.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, each in a process.")] = 1,
    together: Annotated[
        bool, typer.Option("--together", help="With the batched engine: runs in lockstep on one backbone.")
    ] = False,
    track: Track = None,
    debug: Debug = False,
) -> None:
    """Compare methods: learning rates chosen on validation text, then every seed measured once on test text."""
    advice = "interrupted; the same command with --resume goes on"
    with process_group.leaving_together(), one_line_errors(debug, advice, process_group.speaks):
        from rolora import records
        from rolora.experiment import sweep as sweeping
        from rolora.experiment import sweep_report, tracking
        from rolora.planning.estimate import estimate_runs

        process_group.join()
        console.quiet = not process_group.is_first()
        numbers = errors.whole_numbers("--seeds", seeds)
        choosers = errors.whole_numbers("--select-seed", select_seed) if select_seed else numbers[:1]
        if select not in ("last", "validation"):
            raise InputError(
                f"--select: got {select!r}, expected last or validation; for test there is --papers-protocol"
            )
        protocol = sweeping.Protocol(numbers, choosers, select, papers_protocol, reference)
        cells = sweeping.read(locate(config), overrides or [], over or [])
        sweep_report.check_reference(cells, protocol)
        tracking.check(track or ())
        estimate = partial(estimate_runs, out=out, jobs=jobs)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        say(f"{len(cells)} cell{'s' * (len(cells) > 1)}; {sweeping.announce(cells, protocol, estimate)}")
        found = sweeping.sweep(
            cells, protocol, lambda configs: run_all(configs, out, resume, jobs, console, together, track or ()), say
        )
        record = sweep_report.as_record(found, protocol)
        if process_group.is_first():
            records.write_json(out / "sweep.json", record)
        console.print(sweep_report.table(record))


@app.command()
def conformance(
    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD ...]", help="All by default.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:ATTRIBUTE", help="Foreign aggregators instead of the methods here; repeatable."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings here.")] = None,
    debug: Debug = False,
) -> None:
    """Hold methods, or anybody's aggregator, to the laws; status 1 if a law fails."""
    from rolora import records
    from rolora.conformance import report

    with one_line_errors(debug):
        found = report.foreign(against) if against else report.ours(methods or [])
        console.print(report.table(found))
        for line in report.remarks(found):
            console.print(line, markup=False, highlight=False)
        if json_file is not None:
            records.write_json(json_file, report.as_record(found))
    if any(finding.verdict == "fail" for findings in found.values() for finding in findings):
        raise typer.Exit(1)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="TOML file, the name of a packaged config, or a run's record.json.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value ...")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the plans here.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean length of a batch; model.max_length if not given.")
    ] = None,
    group_size: Annotated[int | None, typer.Option(min=1, help="Clients that are trained together.")] = None,
    flops_per_second: Annotated[
        float | None, typer.Option(min=1, help="To tell the time; measured if not given.")
    ] = None,
    debug: Debug = False,
) -> None:
    """What each run of a config will cost: bytes, memory, operations, time. No weights, no data, no training."""
    with one_line_errors(debug):
        from rolora import records
        from rolora.planning import plan as planning

        configs = configuration.read(locate(config), overrides)
        plans = [
            planning.plan(one, tokens=tokens, group_size=group_size, flops_per_second=flops_per_second)
            for one in configs
        ]
        for table in planning.render(plans):
            console.print(table, "")
        if json_file is not None:
            records.write_json(json_file, [one.as_dict() for one in plans])


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Gets the files; empty, or not there yet.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole model with adapter, residual and head in its weights.")
    ] = False,
    client: Annotated[int | None, typer.Option(min=0, help="Whose own factors, for a method that has such.")] = None,
    debug: Debug = False,
) -> None:
    """Write a finished run as files that PEFT (or, merged, transformers) loads, and check them by loading them."""
    with one_line_errors(debug):
        from rolora.experiment.export import export as write

        console.print(write(run_folder, folder, merged=merged, client=client), markup=False, highlight=False)


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="Packaged name, model folder, hub name, or the folder of a finished run.")
    ],
    benchmark: Annotated[list[str], typer.Option(metavar="NAME", help="Repeatable; commonsense stands for its eight.")],
    data: Annotated[Path | None, typer.Option(help="File, folder or wheel; the hub if not given.")] = None,
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
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the record here.")] = None,
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
    debug: Debug = False,
) -> None:
    """Put benchmarks to a decoder, or to a run's result; a record allows paired comparison before and after."""
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


@app.command("training-rows")
def training_rows(
    benchmark: Annotated[list[str], typer.Argument(metavar="BENCHMARK ...", help="With training rows: see list.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines with the columns prompt and response.")],
    data: Annotated[Path | None, typer.Option(help="File, folder or wheel; the hub if not given.")] = None,
    template: Annotated[str | None, typer.Option(help="plain or alpaca; the benchmark's own if not given.")] = None,
    debug: Debug = False,
) -> None:
    """Write the training rows of benchmarks as prompts and responses, in the words in which they are evaluated."""
    with one_line_errors(debug):
        from rolora.evaluation.benchmarks import run as command

        console.print(command.write_training_rows(benchmark, data, template, out), markup=False, highlight=False)


@app.command("list")
def list_() -> None:
    """List algorithms, packaged configs, models, data, partitions, and benchmarks."""
    from rolora.config.layer_budgets import LAYERS_BY_NAME
    from rolora.data import BENCHMARKS, NAMES, PACKAGED_DATA
    from rolora.evaluation import benchmarks
    from rolora.models.architectures import ARCHITECTURES
    from rolora.models.backbone import PACKAGED_MODELS

    table = Table(box=None)
    table.add_column("what")
    table.add_column("names")
    table.add_row("algorithms", ", ".join(ALGORITHMS))
    table.add_row("configs", ", ".join(sorted(packaged_configs())))
    table.add_row("models", ", ".join(PACKAGED_MODELS) + ", or a local folder, or a hub name")
    table.add_row("shapes", ", ".join(ARCHITECTURES) + ' (for plans, and for model.weights = "random")')
    table.add_row("layers", ", ".join(LAYERS_BY_NAME) + ", or numbers")
    table.add_row("data", ", ".join(PACKAGED_DATA) + ", or a local file or folder, or a hub name with its owner")
    table.add_row("", "of the hub: " + ", ".join(NAMES))
    table.add_row("", "files or folders of, with data.benchmark: " + ", ".join(BENCHMARKS))
    table.add_row("partitions", ", ".join(PARTITIONS))
    asked = [*benchmarks.BENCHMARKS, *(f"{name} (several)" for name in benchmarks.GROUPS)]
    table.add_row("benchmarks", ", ".join(asked) + " (evaluate)")
    console.print(table)


def summarise(config: Config) -> None:
    """Load all that a run needs and print what it would do."""
    from rolora.experiment import loop
    from rolora.federation import pack
    from rolora.federation.communication import PARTS
    from rolora.models import peft_boundary
    from rolora.privacy import accounting

    accounting.check(config)
    setup = loop.prepare(config)
    state = peft_boundary.read(setup.model, head=config.model.head == "trained")
    sizes = [len(indices) for indices in setup.clients]
    everything = pack(state, frozenset(PARTS))
    table = Table(title=config.run_name(), show_header=False, box=None)
    for name, value in {
        "model": f"{setup.backbone.name} ({setup.backbone.source}), {setup.backbone.parameters:,} pretrained parameters",
        "data": f"{setup.data.name}: {len(setup.data.train):,} train, {len(setup.data.validation):,} validation, "
        f"{len(setup.data.test):,} test; {setup.data.duplicates_dropped} duplicates dropped",
        "clients": f"{len(sizes)}, from {min(sizes):,} to {max(sizes):,} examples",
        "rounds": f"{config.federation.rounds} x {config.training.local_steps} local steps",
        "bytes of one client's": ", ".join(f"{part} {count:,}" for part, count in everything.bytes_by_part().items()),
        **{
            f"lora.{name}": ", ".join(map(str, found))
            for name, found in peft_boundary.found(config.lora, setup.model).items()
        },
        "adapted layers": ", ".join(state.layers),
        **accounting.row(accounting.guarantee(config, sizes)),
    }.items():
        table.add_row(name, value)
    console.print(table)


def results_table(records: list[dict[str, Any]]) -> Table:
    """What was run, with the final metric and the traffic counted."""
    names = {primary(record["final"]) for record in records}
    heading = named(names.pop()) if len(names) == 1 else "metric"
    table = Table(box=None)
    for name in ("run", "split", *dict.fromkeys((heading, "loss")), "majority", "MB up", "MB down", "seconds"):
        table.add_column(name, justify="left" if name in ("run", "split") else "right")
    for record in records:
        final, metric = record["final"], primary(record["final"])
        value = f"{final[metric]:.4f}" if heading != "metric" else f"{named(metric)} {final[metric]:.4f}"
        up = sum(sum(entry["bytes_up"].values()) for entry in record["rounds"])
        down = sum(
            sum(entry["bytes_down"].values()) + sum(entry["bytes_joining"].values()) for entry in record["rounds"]
        )
        drawn = " (random weights)" if record["config"]["model"].get("weights") == "random" else ""
        majority = record["data"].get("majority_rate")
        table.add_row(
            record["name"] + drawn,
            split_text(record),
            value,
            f"{final['loss']:.4f}",
            "-" if majority is None else f"{majority:.4f}",
            f"{up / 1e6:.2f}",
            f"{down / 1e6:.2f}",
            f"{record['seconds']:.0f}",
        )
    return table


def split_text(record: dict[str, Any]) -> str:
    """On what the final metric was measured, and after how many rounds where validation text chose that."""
    split = record["config"]["evaluation"]["split"]
    if "selected_round" not in record:
        return split
    text = f"{split}, after {record['selected_round'] + 1} rounds by validation"
    if "final_papers_protocol" in record:
        found, chosen = record["final_papers_protocol"], record["selection_papers_protocol"]
        text += f" (by test text itself: {found[primary(found)]:.4f} after {chosen['selected_round'] + 1})"
    return text


deployment.register(app, console, locate)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app(prog_name="python -m rolora")
