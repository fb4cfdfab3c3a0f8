"""The commands ``serve`` and ``join``, from their arguments on."""

from __future__ import annotations

import importlib.util
import logging
import os
import resource
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from rolora import config as configuration
from rolora import records
from rolora.config import Config
from rolora.errors import InputError
from rolora.experiment.progress import Display


def require_flower() -> None:
    """Raise InputError if flwr is not installed."""
    if importlib.util.find_spec("flwr") is None:
        raise InputError("a deployment needs the package flwr: pip install 'rolora[flower]'")
    from flwr.supercore.logger import FLOWER_LOGGER

    FLOWER_LOGGER.setLevel(logging.CRITICAL)  # errors are reported here, in one line


def read_config(path: Path, overrides: list[str]) -> Config:
    """Return the one experiment of a config; raise InputError if there are several."""
    configs = configuration.read(path, overrides)
    if len(configs) > 1:
        raise InputError(f"{path}: a grid of {len(configs)} experiments, expected one: choose with section.key=value")
    return configs[0]


def serve(
    path: Path,
    overrides: list[str],
    keys: Path | None,
    host: str,
    port: int,
    out: Path,
    resume: bool,
    deadline: float | None,
    minimum: int | None,
    insecure: bool,
    console: Console,
) -> None:
    """Run the server until the run is finished. Arguments as those of the command; raises InputError."""
    require_flower()
    if insecure == (keys is not None):
        raise InputError(
            "--keys: got both it and --insecure"
            if insecure
            else "--keys: got none, expected the server's folder of `keys`, or --insecure by name"
        )
    config = read_config(path, overrides)
    directory = out / config.run_name()
    report = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if records.finished(directory, config.hash()):
        report(f"{config.run_name()}: finished already, see {directory / 'record.json'}")
        return
    from flwr.app import Context, RecordDict

    from rolora.deployment import support
    from rolora.deployment.certificates import server_identity
    from rolora.deployment.server import RoundTimeout, server_app
    from rolora.deployment.superlink import SuperLink
    from rolora.experiment.loop import Experiment

    fault = support.refusal(config)
    if fault:
        raise InputError(fault)
    identity = None if keys is None else server_identity(keys)
    clients = config.federation.num_clients
    if identity is not None and set(range(clients)) - identity.clients.keys():
        raise InputError(
            f"--keys: {keys} has {len(identity.clients)} clients, expected federation.num_clients = {clients}"
        )
    display = Display(console, 1)
    with display.bars, SuperLink(host, port, identity) as link:
        experiment = Experiment(
            config, directory, resume=resume, progress=lambda event: display.show(config.run_name(), event)
        )
        security = "TLS, clients authenticated" if identity is not None else "INSECURE: no TLS, no authentication"
        report(f"{config.run_name()}: serving {clients} clients on {host}:{link.port} ({security})")
        context = Context(link.run.run_id, 0, {}, RecordDict(), {})
        server_app(experiment, link, RoundTimeout(deadline, minimum), report)(link.grid, context)
        record = experiment.finish()
        display.finish(config.run_name(), record)
    report(summary(record, directory))


def summary(record: dict, directory: Path) -> str:
    """Return one line: bytes of the updates, bytes on the wire, and missing updates."""
    rounds = record["rounds"]
    counted = sum(sum(entry["bytes_up"].values()) for entry in rounds)
    wire = sum(entry["wire"]["up"] for entry in rounds)
    missing = sum(len(entry.get("missing", {})) for entry in rounds)
    return (
        f"up: {counted:,} bytes of tensors, {wire:,} bytes on the wire; {missing} updates missing in {len(rounds)} rounds; "
        f"record: {directory / 'record.json'}"
    )


def join(
    path: Path,
    overrides: list[str],
    keys: Sequence[Path],
    clients: Sequence[int],
    server: str,
    data: Path | None,
    patience: float,
    insecure: bool,
    console: Console,
) -> None:
    """Take part until the server ends the run. Arguments as those of the command; raises InputError."""
    require_flower()
    if insecure and keys:
        raise InputError("--keys: got both it and --insecure, expected one of them")
    if not insecure and not keys:
        raise InputError("--keys: got none, expected a client's folder of `keys`, or --insecure by name")
    if insecure != bool(clients):
        raise InputError(
            "--client: got none, expected the client's number with --insecure"
            if insecure
            else "--client: a client's number goes with its key, expected it with --insecure alone"
        )
    config = read_config(path, overrides)
    from rolora.deployment.certificates import client_identity, throwaway
    from rolora.deployment.client import Client, training_context
    from rolora.deployment.supernode import SuperNode
    from rolora.deployment.supernode import serve as run

    identities = [client_identity(folder) for folder in keys] or [throwaway(client) for client in clients]
    if data is not None and len(identities) > 1:
        raise InputError(
            f"--data: got it with {len(identities)} clients in one process, expected one client with its data"
        )
    report = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    training = training_context(config, None if data is None else (identities[0].client, data))
    nodes = [SuperNode(server, identity, Client(identity.client, training, report)) for identity in identities]
    run(nodes, patience, report)
    unit = 1024 if sys.platform != "darwin" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    report(f"finished; process {os.getpid()} had {peak / 1e6:.0f} MB at most")
