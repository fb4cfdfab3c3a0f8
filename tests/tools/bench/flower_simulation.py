"""The same job under Flower's own simulation: its ServerApp, its ClientApp, its FedAvg, ray beneath.

A client's local update is that of the plain loop. Every process of ray loads model and batches once and keeps them, and has
one thread; there are as many processes as cores. Flower is installed apart from this project, whose locked packages are
newer than Flower allows; ``INSTALL`` says how.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # read when these are imported

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from peft import PeftModel

from tests.tools.bench.given import Given, State, build_model, load
from tests.tools.bench.plain_loop import local_update, trained_factors

LIMIT = 600.0
"""Seconds for loading, and for each round. ray's processes have a low priority: beside other work they may not get on."""


@functools.cache
def materials(folder: str) -> tuple[PeftModel, Given]:
    """Model and job, loaded once a process."""
    torch.set_num_threads(1)
    given = load(Path(folder))
    return build_model(given), given


def client_app(folder: str) -> ClientApp:
    """A client: trains on its own batches from the server's arrays."""
    app = ClientApp()

    @app.query()
    def get_ready(message: Message, context: Context) -> Message:
        materials(folder)
        return Message(RecordDict(), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        model, given = materials(folder)
        t = int(message.content["config"]["server-round"]) - 1
        client = int(context.node_config["partition-id"])
        trained = trained_factors(given.algorithm, t)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("modules_to_save" in name or any(factor in name for factor in trained))
        server = message.content["arrays"].to_torch_state_dict()
        state = local_update(model, server, given.batches[t][client], given)
        weight = MetricRecord({"num-examples": given.weights[client]})
        return Message(RecordDict({"arrays": ArrayRecord(state), "metrics": weight}), reply_to=message)

    return app


def server_app(given: Given, outcome: dict[str, Any]) -> ServerApp:
    """The server: FedAvg over all arrays, after every process has loaded what it needs."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        clients = len(given.weights)
        while len(nodes := list(grid.get_node_ids())) < clients:
            time.sleep(0.01)
        ready = [Message(RecordDict(), message_type="query", dst_node_id=node) for node in nodes]
        replies = list(grid.send_and_receive(ready, timeout=LIMIT))
        if failed := [reply.error.reason for reply in replies if reply.has_error()]:
            raise RuntimeError(failed[0])
        if len(replies) < clients:
            raise RuntimeError(f"after {LIMIT:.0f} s {len(replies)} of {clients} clients had loaded the model")
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        started = time.perf_counter()
        result = strategy.start(
            grid, ArrayRecord(given.start), num_rounds=len(given.batches), timeout=LIMIT, train_config=ConfigRecord()
        )
        outcome["seconds"] = time.perf_counter() - started
        outcome["final"] = dict(result.arrays.to_torch_state_dict())
        outcome["replies"] = len(result.train_metrics_clientapp)

    return app


def contestant(folder: Path) -> Callable[[], tuple[float, State, dict[str, Any]]]:
    """What runs one simulation, start of ray and all; its time is told with and without that start."""
    given, cores = load(folder), len(os.sched_getaffinity(0))
    resources = {"init_args": {"num_cpus": cores}, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}

    def run() -> tuple[float, State, dict[str, Any]]:
        outcome: dict[str, Any] = {}
        started = time.perf_counter()
        run_simulation(
            server_app=server_app(given, outcome),
            client_app=client_app(str(folder)),
            num_supernodes=len(given.weights),
            backend_name="ray",
            backend_config=resources,
        )
        whole = time.perf_counter() - started
        time.sleep(2)  # for ray's processes to be gone before another contestant's pass
        if outcome.get("replies") != len(given.batches):
            raise RuntimeError("Flower's simulation ended before its last round")
        more = {"seconds_with_start": whole, "processes": cores, "threads": 1}
        more |= {name: metadata.version(name) for name in ("flwr", "ray")}
        return outcome["seconds"], outcome["final"], more

    return run
