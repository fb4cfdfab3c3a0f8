"""Keys, configs as files, and what a simulation of them gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rolora.config import Config
from rolora.deployment import certificates
from rolora.deployment.loopback import free_port
from rolora.experiment import loop
from tests.conftest import changed
from tests.tools.deployment.processes import Federation, federation


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a server and five clients."""
    folder = tmp_path_factory.mktemp("keys")
    certificates.make(folder, 5)
    return folder


@pytest.fixture
def federate(tmp_path: Path, keys: Path) -> Any:
    """Makes a federation of a config."""
    entered = []

    def make(config: Config) -> Federation:
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"config": config.resolved()}))
        context = federation(tmp_path, path, keys, free_port())
        entered.append(context)
        return context.__enter__()

    yield make
    for context in entered:
        context.__exit__(None, None, None)


@pytest.fixture
def tiny(table: dict[str, Any]) -> Callable[..., Config]:
    """A config that trains in a moment, with changes."""
    return lambda **changes: changed(table, **{"federation__rounds": 3, "evaluation__every": 3} | changes)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a finished run's adapter."""
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def record(folder: Path) -> dict[str, Any]:
    """Its record."""
    return json.loads((folder / "record.json").read_text())


def simulated(config: Config, folder: Path) -> Path:
    """The folder of the same run, simulated."""
    loop.run(config, folder)
    return folder


def same_bits(one: Path, other: Path) -> None:
    """Hold two runs' adapters to each other."""
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
