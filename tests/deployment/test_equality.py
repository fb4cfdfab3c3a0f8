"""Three client processes, TLS and authentication: the run that a simulation makes."""

from __future__ import annotations

import pytest
import torch

from rolora import config as configuration
from rolora.config import packaged_configs
from tests.deployment.conftest import record, same_bits, simulated, tensors

SHORT = [
    "federation.rounds=3",
    "evaluation.every=3",
    "training.local_steps=2",
    "data.train_examples=240",
    "data.validation_examples=20",
    "data.test_examples=40",
]


@pytest.mark.parametrize("algorithm", ["fedavg-lora", "ffa-lora", "rolora"])
def test_deployed_is_simulated(algorithm, federate, tmp_path):
    """The packaged encoder, real text; the third client comes late, and RoLoRA sends one factor a round."""
    (config,) = configuration.read(packaged_configs()["quickstart"], [*SHORT, f"algorithm={algorithm}"])
    run = federate(config)
    server = run.server()
    clients = [run.client(client) for client in range(3)]
    assert server.finish() == 0, server.text()
    assert [client.finish() for client in clients] == [0, 0, 0]
    deployed, alone = run.folder / "runs" / config.run_name(), simulated(config, tmp_path / "alone")
    for name, tensor in tensors(alone).items():
        torch.testing.assert_close(tensors(deployed)[name], tensor, rtol=1e-6, atol=1e-9)
    found, expected = record(deployed), record(alone)
    for mine, other in zip(found["rounds"], expected["rounds"], strict=True):
        assert {name: mine[name] for name in ("trained", "clients", "bytes_up", "bytes_down", "bytes_joining")} == {
            name: other[name] for name in ("trained", "clients", "bytes_up", "bytes_down", "bytes_joining")
        }
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-6)
        counted = sum(mine["bytes_up"].values())
        # Framing: nine requests a client and round, with the client's key and a signature in each; and greetings.
        assert counted < mine["wire"]["up"] < 1.1 * counted + 3 * 30_000
    assert found["final"] == pytest.approx(expected["final"], rel=1e-5)
    assert found["environment"]["deployment"]["authenticated"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"algorithm": "fedex-lora"}, marks=pytest.mark.slow),
        {"algorithm": "flora", "federation__client_ranks": [2, 1]},
        pytest.param(
            {"algorithm": "rolora", "server": {"optimizer": "momentum"}, "federation__clients_per_round": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param({"algorithm": "hetlora", "federation__client_ranks": [2, 1, 1]}, marks=pytest.mark.slow),
        {
            "algorithm": "rolora",
            "federation__client_weights": "uniform",
            "privacy": {"mode": "client", "clip": 0.5, "noise_multiplier": 0.5, "delta": 1e-3},
        },
    ],
    ids=["residual", "redrawn", "optimiser-and-sampling", "ranks", "private"],
)
def test_other_methods_too(changes, tiny, federate, tmp_path):
    """Residuals as increments, adapters that everyone draws, clients left out for a round, ranks, an engine, privacy."""
    config = tiny(**changes)
    run = federate(config)
    server, client = run.server(), run.client(0, 1, 2)
    assert server.finish() == 0, server.text()
    assert client.finish() == 0
    deployed, alone = run.folder / "runs" / config.run_name(), simulated(config, tmp_path / "alone")
    if "hetlora" in config.algorithm:  # a slice of a factor is another layout before it has travelled than after
        for name, tensor in tensors(alone).items():
            torch.testing.assert_close(tensors(deployed)[name], tensor, rtol=1e-5, atol=1e-7)
    else:
        same_bits(deployed, alone)
    expected = record(tmp_path / "alone")["rounds"]
    for mine, other in zip(record(run.folder / "runs" / config.run_name())["rounds"], expected, strict=True):
        assert (mine["bytes_up"], mine["bytes_down"], mine["bytes_joining"]) == (
            other["bytes_up"], other["bytes_down"], other["bytes_joining"],
        )  # fmt: skip
