"""The record of a run: the entry of each round, and the finished run with its adapter on disk."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from rolora import records
from rolora.adapter import FACTORS
from rolora.config import Config
from rolora.evaluation import selection
from rolora.experiment import model_card
from rolora.experiment.checkpoint import save_beside_adapter
from rolora.experiment.setup import Setup
from rolora.federation import RoundReport, ServerState
from rolora.federation.communication import total
from rolora.models import peft_boundary
from rolora.training import process_group


def entry(report: RoundReport) -> dict[str, Any]:
    """Return a round's report as JSON gives it back."""
    return json.loads(json.dumps(report.entry()))


def with_attempts(entry: dict[str, Any], failed: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Add to a round's entry the bytes and seconds of its failed attempts."""
    if not failed:
        return entry | {"seconds": round(seconds, 4)}
    ways = ("bytes_up", "bytes_down", "bytes_joining")
    sums = {way: total([entry[way], *(attempt[way] for attempt in failed)]) for way in ways}
    total_seconds = seconds + sum(attempt["seconds"] for attempt in failed)
    return entry | sums | {"failed_attempts": list(failed), "seconds": round(total_seconds, 4)}


def describe(
    setup: Setup, history: Sequence[dict[str, Any]], initial: dict[str, Any], final: dict[str, Any]
) -> dict[str, Any]:
    """Return the record of a finished run."""
    config = setup.config
    trainable = {
        factor: sum(layer[factor].numel() for layer in peft_boundary.factor_parameters(setup.model).values())
        for factor in FACTORS
    }
    head = sum(parameter.numel() for parameter in peft_boundary.head_parameters(setup.model).values())
    kept = {} if setup.prefix_record is None else {"prefix_cache": setup.prefix_record}
    return {
        "format": records.FORMAT,
        "name": config.run_name(),
        "status": "finished",
        "config": config.resolved(),
        "config_hash": config.hash(),
        "seed": config.seed,
        "command": command(config),
        "code": records.code(),
        "environment": records.environment() | setup.precision | {"processes": process_group.count()},
        "model": {
            "name": setup.backbone.name,
            "source": setup.backbone.source,
            "sha256": setup.backbone.sha256,
            "architecture": type(setup.backbone.model).__name__,
            "parameters": setup.backbone.parameters,
            "trainable": trainable | {"head": head if config.model.head == "trained" else 0},
            "adapted_layers": list(peft_boundary.factor_parameters(setup.model)),
        }
        | peft_boundary.found(config.lora, setup.model),
        "data": setup.data.describe() | setup.data.describe_clients(setup.shares),
        "initial_evaluation": initial,
        "rounds": list(history),
        "final": final,
        "seconds": round(sum(entry["seconds"] for entry in history), 3),
    } | (selection.describe(config.evaluation.select, history, final) | kept)


def command(config: Config) -> str:
    """Return the command line that runs this experiment again from its record alone."""
    return f"python -m rolora run {shlex.quote(config.run_name() + '/record.json')}"


def write(record: dict[str, Any], directory: Path, model: PeftModel, server: ServerState) -> None:
    """Write the adapter of a finished run, what PEFT's layout has no place for, and last the record.

    The record comes when all that it stands for is on the disk: a run that is stopped before it is resumed from its
    checkpoint and writes everything again, and one that is stopped after it is finished.

    Args:
        record: of the run.
        directory: of the run; the adapter, in PEFT's own layout, gets the folder ``adapter`` in it.
        model: gets the state.
        server: the state that the record's final metrics were measured on.
    """
    folder = directory / "adapter"
    records.remove_leftovers(folder)
    peft_boundary.write(model, server)
    with records.naming(folder):
        peft_boundary.save(model, folder)
        records.write_bytes(folder / model_card.FILE, model_card.model_card(record).encode())
        records.flush(folder)
    save_beside_adapter(directory, server)
    records.write_json(directory / "record.json", record)
