"""Checkpoint of an unfinished run, and the parts of a finished one that PEFT's adapter cannot hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from rolora import records
from rolora.config import Config
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.federation.communication import Ledger
from rolora.federation.state_tensors import state_from, state_tensors

CHECKPOINT = "checkpoint.safetensors"

SELECTED = "selected:"
"""Prefix of the labels of the best round's tensors, where that is not the last round."""


def save_checkpoint(
    path: Path,
    config: Config,
    server: ServerState,
    ledger: Ledger,
    history: list[dict[str, Any]],
    initial: dict[str, Any],
    selected: ServerState | None = None,
) -> None:
    """Replace the checkpoint: tensors and progress in one safetensors file, so they cannot disagree.

    ``selected``, the state of the best round so far, lies in the same file, unless it is the server's own.
    """
    tensors = {label: array.contiguous() for label, array in state_tensors(server).items()}
    if selected is not None and selected is not server:
        # A copy: the two states may share arrays, and safetensors refuses two names for one memory.
        tensors |= {SELECTED + label: array.clone().contiguous() for label, array in state_tensors(selected).items()}
    progress = {
        "config_hash": config.hash(),
        "ledger": {
            "server": dict(ledger.server),
            "held": {str(client): dict(held) for client, held in ledger.held.items()},
            "previous": dict(ledger.previous),
        },
        "rounds": history,
        "initial": initial,
    }
    records.write_bytes(path, save(tensors, metadata={"progress": json.dumps(progress)}))


def load_checkpoint(path: Path, config: Config) -> tuple[ServerState, Ledger, list[dict[str, Any]], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        InputError: if it belongs to another config or is damaged.
    """
    progress, tensors = _read(path, config)
    if progress["config_hash"] != config.hash():
        raise InputError(
            f"{path}: belongs to another config, expected hash {config.hash()[:8]}; remove it or use its config"
        )
    ledger = Ledger(
        server=progress["ledger"]["server"],
        held={int(client): held for client, held in progress["ledger"]["held"].items()},
        previous=progress["ledger"]["previous"],
    )
    current = {name: tensor for name, tensor in tensors.items() if not name.startswith(SELECTED)}
    return state_from(current), ledger, progress["rounds"], progress["initial"]


def load_selected(path: Path, config: Config) -> ServerState | None:
    """Read the state of the best round; None if it is the server's own.

    Raises:
        InputError: if it is damaged.
    """
    _, tensors = _read(path, config)
    selected = {name.removeprefix(SELECTED): tensor for name, tensor in tensors.items() if name.startswith(SELECTED)}
    return state_from(selected) if selected else None


def _read(path: Path, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt", device=config.runtime.device) as file:
            progress = json.loads(file.metadata()["progress"])
            return progress, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # safetensors' own error type is not public
        raise InputError(f"{path}: expected a checkpoint of this software; {str(error).splitlines()[0]}") from None


def save_beside_adapter(directory: Path, server: ServerState) -> None:
    """Write what PEFT's adapter cannot hold: a residual to add to the backbone, the clients' own factors."""
    for part in ("residual|", "personal|"):
        tensors = {
            label.removeprefix(part): array.contiguous()
            for label, array in state_tensors(server).items()
            if label.startswith(part)
        }
        if tensors:
            records.write_bytes(directory / f"{part[:-1]}.safetensors", save(tensors))
