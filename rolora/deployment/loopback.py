"""A federation on one machine: a server and its clients as processes on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from rolora.deployment.serve_and_join import read_config, require_flower
from rolora.errors import InputError

STOPPED_WITHIN = 10.0
"""Seconds between SIGTERM and SIGKILL."""


def deploy(
    path: Path,
    overrides: list[str],
    processes: int | None,
    out: Path,
    resume: bool,
    deadline: float | None,
    minimum: int | None,
    insecure: bool,
    console: Console,
) -> None:
    """Run a server and its clients to the end. Arguments as those of the command.

    Raises:
        InputError: one of the processes failed; it has printed why.
    """
    require_flower()
    config = read_config(path, overrides)
    number = config.federation.num_clients
    port = free_port()
    with ExitStack() as stack:
        security: list[str] = ["--insecure"]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rolora-keys-")))
        if not insecure:
            from rolora.deployment import certificates

            certificates.make(folder, number)
            security = ["--keys", str(folder / "server")]
        waiting = [f"--deadline={deadline}"] if deadline is not None else []
        waiting += [f"--minimum-clients={minimum}"] if minimum is not None else []
        server = ["serve", str(path), *overrides, "--port", str(port), "--out", str(out), *security, *waiting]
        commands = [server + ["--resume"] * resume]
        for clients in shares(number, processes or number):
            who = [part for client in clients for part in ("--keys", str(folder / f"client-{client}"))]
            if insecure:
                who = ["--insecure", *(part for client in clients for part in ("--client", str(client)))]
            commands.append(["join", str(path), *overrides, "--server", f"127.0.0.1:{port}", *who, "--quiet"])
        console.print(f"{number} clients in {len(commands) - 1} processes, and a server", highlight=False)
        supervise(stack.enter_context(running(commands)))


def shares(number: int, processes: int) -> list[list[int]]:
    """Return the clients of each process.

    Example:
        >>> shares(5, 2)
        [[0, 2, 4], [1, 3]]
    """
    return [list(range(start, number, processes)) for start in range(min(processes, number))]


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def running(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes of this program, and end those that are left at the exit."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(subprocess.Popen([sys.executable, "-m", "rolora", *command], env=environment))
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOPPED_WITHIN
        for process in started:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def supervise(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for the server and then for its clients; raise InputError as soon as one of them fails."""
    server, *clients = processes
    while server.poll() is None:
        failed = next((client for client in clients if client.poll() not in (None, 0)), None)
        if failed is not None:
            raise InputError(
                f"a client ended with status {failed.returncode} (its message is above); the others were stopped"
            )
        time.sleep(0.1)
    if server.returncode != 0:
        raise InputError(f"the server ended with status {server.returncode} (its message is above)")
    until = time.monotonic() + STOPPED_WITHIN
    for client in clients:
        try:
            client.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return  # the run is finished all the same
