"""The console, and the tables that ``run`` prints."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rolora import config as configuration
from rolora.config import Config

console = Console(width=None if sys.stdout.isatty() else 160)  # a file has no edge at 80 columns
say = partial(console.print, markup=False, highlight=False, soft_wrap=True)


def dry_run(config: Config) -> Table:
    """Load all that a run needs and return its sizes."""
    from rolora.experiment import loop
    from rolora.federation import pack
    from rolora.federation.communication import PARTS
    from rolora.models import peft_boundary
    from rolora.privacy import accounting

    accounting.check(config)
    setup = loop.prepare(config)
    state = peft_boundary.read(setup.model, head=config.model.head == "trained")
    sizes = [len(indices) for indices in setup.clients]
    message = pack(state, frozenset(PARTS))
    table = Table(title=config.run_name(), show_header=False, box=None)
    for name, value in {
        "model": f"{setup.backbone.name} ({setup.backbone.source}), {setup.backbone.parameters:,} pretrained parameters",
        "data": f"{setup.data.name}: {len(setup.data.train):,} train, {len(setup.data.validation):,} validation, "
        f"{len(setup.data.test):,} test; {setup.data.duplicates_dropped} duplicates dropped",
        "clients": f"{len(sizes)}, from {min(sizes):,} to {max(sizes):,} examples",
        "rounds": f"{config.federation.rounds} x {config.training.local_steps} local steps",
        "bytes of one client's": ", ".join(f"{part} {count:,}" for part, count in message.bytes_by_part().items()),
        **{
            f"lora.{name}": ", ".join(map(str, values))
            for name, values in peft_boundary.found(config.lora, setup.model).items()
        },
        "adapted layers": ", ".join(state.layers),
        **accounting.row(accounting.guarantee(config, sizes)),
    }.items():
        table.add_row(name, value)
    return table


def results(records: Sequence[dict[str, Any]]) -> Table:
    """Return one row a run: final metric, traffic and time."""
    from rolora.evaluation.selection import primary
    from rolora.experiment.progress import named

    metrics = {primary(record["final"]) for record in records}
    heading = named(metrics.pop()) if len(metrics) == 1 else "metric"
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
        random = " (random weights)" if record["config"]["model"].get("weights") == "random" else ""
        majority = record["data"].get("majority_rate")
        table.add_row(
            record["name"] + random,
            _measured_on(record),
            value,
            f"{final['loss']:.4f}",
            "-" if majority is None else f"{majority:.4f}",
            f"{up / 1e6:.2f}",
            f"{down / 1e6:.2f}",
            f"{record['seconds']:.0f}",
        )
    return table


def _measured_on(record: dict[str, Any]) -> str:
    """Return the data of the final metric, and the round if one was selected."""
    from rolora.evaluation.selection import primary

    split = record["config"]["evaluation"]["split"]
    if "selected_round" not in record:
        return split
    text = f"{split}, after {record['selected_round'] + 1} rounds by validation"
    if "final_papers_protocol" in record:
        final, selection = record["final_papers_protocol"], record["selection_papers_protocol"]
        text += f" (selection on test data: {final[primary(final)]:.4f} after {selection['selected_round'] + 1})"
    return text


def next_steps(records: Sequence[dict[str, Any]], out: Path) -> str:
    """Return the result of the first run, its folder, and commands that export it and repeat it with another seed."""
    from rolora.evaluation.selection import primary
    from rolora.experiment.progress import named

    record = records[0]
    folder, metric = out / record["name"], primary(record["final"])
    config = configuration.check(record["config"], str(folder))
    personal = config.build_algorithm().personal
    choice = " --client 0" * bool(personal) + " --merged" * (folder / "residual.safetensors").exists()
    program = "rolora" if Path(sys.argv[0]).stem == "rolora" else "python -m rolora"
    run = shlex.quote(str(folder))
    others = f", {len(records) - 1} more in {out}" if len(records) > 1 else ""
    return "\n".join(
        [
            f"{named(metric)} {record['final'][metric]:.4f} on {config.evaluation.split} data in {folder}{others}",
            f"  {program} export {run} {shlex.quote(str(folder / 'exported'))}{choice}",
            f"  {program} run {shlex.quote(str(folder / 'record.json'))} seed={config.seed + 1} --out {shlex.quote(str(out))}",
        ]
    )
