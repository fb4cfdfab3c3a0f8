"""The commands of a deployment: ``keys``, ``serve``, ``join``, and ``deploy`` for all of them on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rolora import config as configuration
from rolora.cli import options
from rolora.cli.errors import one_line_errors
from rolora.cli.tables import console, say


def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Gets server/, client-0/, client-1/, ...")],
    clients: Annotated[int, typer.Option(min=1, help="How many clients.")] = 3,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of the server, as clients reach it, beside loopback; repeatable."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How long the server's certificate is valid.")] = 365,
    debug: options.Debug = False,
) -> None:
    """Make the server's certificate and a key for every client. Give each machine its own folder only."""
    with one_line_errors(debug):
        from rolora.deployment import serve_and_join

        serve_and_join.require_flower()
        from rolora.deployment import certificates

        for place in certificates.make(folder, clients, host or (), days):
            say(str(place))


def serve(
    config: options.ConfigFile,
    overrides: options.Overrides = None,
    keys: Annotated[Path | None, typer.Option(metavar="DIR", help="The server's folder of `keys`.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="To listen on; 0 for a free one.")] = 8443,
    out: options.Out = Path("runs"),
    resume: options.Resume = False,
    deadline: options.Deadline = None,
    minimum_clients: options.Minimum = None,
    insecure: options.Insecure = False,
    debug: options.Debug = False,
) -> None:
    """Run a config's federation with clients that `join` from other processes and machines."""
    with one_line_errors(debug, options.INTERRUPTED):
        from rolora.deployment import serve_and_join

        serve_and_join.serve(
            configuration.locate(config),
            overrides or [],
            keys,
            host,
            port,
            out,
            resume,
            deadline,
            minimum_clients,
            insecure,
            console,
        )


def join(
    config: options.ConfigFile,
    overrides: options.Overrides = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A client's folder of `keys`; repeated, one process is several clients."),
    ] = None,
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the server.")] = "127.0.0.1:8443",
    data: Annotated[
        Path | None, typer.Option(help="This client's own rows; its share of the config's data if not given.")
    ] = None,
    client: Annotated[
        list[int] | None, typer.Option(min=0, help="Number of the client, only with --insecure; repeatable.")
    ] = None,
    patience: Annotated[float, typer.Option(min=1, help="Seconds without a server before it gives up.")] = 600,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only errors.")] = False,
    insecure: options.Insecure = False,
    debug: options.Debug = False,
) -> None:
    """Take part in a federation: train on local data until the server reports that it is finished."""
    with one_line_errors(debug, "interrupted; the same command joins again"):
        from rolora.deployment import serve_and_join

        console.quiet = quiet
        serve_and_join.join(
            configuration.locate(config),
            overrides or [],
            keys or [],
            client or [],
            server,
            data,
            patience,
            insecure,
            console,
        )


def deploy(
    config: options.ConfigFile,
    overrides: options.Overrides = None,
    clients: Annotated[int | None, typer.Option(min=1, help="Instead of federation.num_clients.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="The clients are spread over these; one process a client if not given.")
    ] = None,
    out: options.Out = Path("runs"),
    resume: options.Resume = False,
    deadline: options.Deadline = None,
    minimum_clients: options.Minimum = None,
    insecure: options.Insecure = False,
    debug: options.Debug = False,
) -> None:
    """Run a federation on this machine: a server and its clients as processes on loopback, with TLS and keys."""
    with one_line_errors(debug, options.INTERRUPTED):
        from rolora.deployment import loopback

        changes = list(overrides or [])
        if clients is not None:
            changes.append(f"federation.num_clients={clients}")
        loopback.deploy(
            configuration.locate(config), changes, processes, out, resume, deadline, minimum_clients, insecure, console
        )
