"""The state of an unfinished run, and the parts of a finished one that PEFT's adapter has no place for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from rolora import records
from rolora.adapter import Layer
from rolora.config import Config
from rolora.errors import InputError
from rolora.federation import ServerState, pack
from rolora.federation.communication import PARTS, Ledger

CHECKPOINT = "checkpoint.safetensors"

SELECTED = "selected:"
"""Before the names of a checkpoint's tensors that belong to the best round so far, where that is not the last one."""


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
    tensors = {f"{part}|{name}": array.contiguous() for part, name, array in everything(server)}
    if selected is not None and selected is not server:
        # A copy: the two states may share arrays, and safetensors refuses two names for one memory.
        tensors |= {
            f"{SELECTED}{part}|{name}": array.clone().contiguous() for part, name, array in everything(selected)
        }
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
    return restored(current), ledger, progress["rounds"], progress["initial"]


def load_selected(path: Path, config: Config) -> ServerState | None:
    """The state of the best round, if the checkpoint holds one beside the server's.

    Raises:
        InputError: if it is damaged.
    """
    _, tensors = _read(path, config)
    found = {name.removeprefix(SELECTED): tensor for name, tensor in tensors.items() if name.startswith(SELECTED)}
    return restored(found) if found else None


def _read(path: Path, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt", device=config.runtime.device) as file:
            progress = json.loads(file.metadata()["progress"])
            return progress, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # safetensors' own error type is not public
        raise InputError(f"{path}: expected a checkpoint of this software; {str(error).splitlines()[0]}") from None


def everything(server: ServerState) -> Iterator[tuple[str, str, Any]]:
    """Every tensor of a state as (kind, name, tensor): what a checkpoint has to hold."""
    yield from pack(server, frozenset(PARTS)).arrays()
    for name, layer in server.layers.items():
        if layer.residual is not None:
            yield "residual", name, layer.residual
        for index, array in enumerate(layer.increment or ()):
            yield "increment", f"{index}|{name}", array
        for memory, array in layer.memory.items():
            yield "memory", f"{memory}|{name}", array
    for client, layers in server.personal.items():
        for name, factors in layers.items():
            for factor, array in factors.items():
                yield "personal", f"{client}|{factor}|{name}", array


def restored(tensors: Mapping[str, Any]) -> ServerState:
    """The state from the tensors of :func:`everything`, by "kind|name"."""
    layers: dict[str, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    personal: dict[int, dict[str, dict[str, Any]]] = {}
    increments: dict[str, dict[int, Any]] = {}
    for label, tensor in tensors.items():
        kind, _, name = label.partition("|")
        if kind == "head":
            head[name] = tensor
        elif kind == "personal":
            client, factor, name = name.split("|", 2)
            personal.setdefault(int(client), {}).setdefault(name, {})[factor] = tensor
        elif kind == "increment":
            index, _, name = name.partition("|")
            increments.setdefault(name, {})[int(index)] = tensor
        elif kind == "memory":
            memory, _, name = name.partition("|")
            layers.setdefault(name, {}).setdefault("memory", {})[memory] = tensor
        else:
            layers.setdefault(name, {})[kind] = tensor
    for name, parts in increments.items():
        layers[name]["increment"] = tuple(parts[index] for index in sorted(parts))
    return ServerState({name: Layer(**parts) for name, parts in layers.items()}, head, personal)


def save_beside_adapter(directory: Path, server: ServerState) -> None:
    """What the result needs beyond one adapter: a residual to add to the backbone, the clients' own factors."""
    for kind in ("residual", "personal"):
        tensors = {name: array.contiguous() for found, name, array in everything(server) if found == kind}
        if tensors:
            records.write_bytes(directory / f"{kind}.safetensors", save(tensors))
