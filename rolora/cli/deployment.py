"""The commands of a deployment: ``keys``, ``serve``, ``join``, and ``deploy`` for all of it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rolora.cli.errors import one_line_errors

Config = Annotated[Path, typer.Argument(help="TOML file, the name of a packaged config, or a run's record.json.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value ...")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback instead of one line.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="No TLS and no authentication: anybody who reaches the port takes part.")
]
Deadline = Annotated[
    float | None, typer.Option(min=0.1, help="Seconds that a round waits for its clients; without it, for ever.")
]
Minimum = Annotated[
    int | None,
    typer.Option(min=1, help="Answers with which a round is closed at the deadline; all that were asked if not given."),
]
ServerPort = Annotated[int, typer.Option(min=0, max=65535, help="To listen on; 0 for one that is free.")]


def register(app: typer.Typer, console: Console, locate: Callable[[Path], Path]) -> None:
    """Add the commands.

    Args:
        app: of the command line.
        console: where to print.
        locate: finds the file of a config argument.
    """
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)

    @app.command()
    def keys(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="Gets server/, client-0/, client-1/, ...")],
        clients: Annotated[int, typer.Option(min=1, help="How many clients.")] = 3,
        host: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME", help="By which clients reach the server, beside loopback; repeatable."),
        ] = None,
        days: Annotated[int, typer.Option(min=1, help="How long the server's certificate is valid.")] = 365,
        debug: Debug = False,
    ) -> None:
        """Make the server's certificate and a key for every client. Give each machine its folder, and no other."""
        with one_line_errors(debug):
            from rolora.deployment import serve_and_join

            serve_and_join.require_flower()
            from rolora.deployment import certificates

            for place in certificates.make(folder, clients, host or (), days):
                say(str(place))

    @app.command()
    def serve(
        config: Config,
        overrides: Overrides = None,
        keys: Annotated[Path | None, typer.Option(metavar="DIR", help="The server's folder of `keys`.")] = None,
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: ServerPort = 8443,
        out: Annotated[Path, typer.Option(help="The run gets a folder in here.")] = Path("runs"),
        resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
        deadline: Deadline = None,
        minimum_clients: Minimum = None,
        insecure: Insecure = False,
        debug: Debug = False,
    ) -> None:
        """Run a config's federation with clients that `join` from other processes and machines."""
        with one_line_errors(debug, "interrupted; the same command with --resume goes on"):
            from rolora.deployment import serve_and_join

            serve_and_join.serve(
                locate(config),
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

    @app.command()
    def join(
        config: Config,
        overrides: Overrides = None,
        keys: Annotated[
            list[Path] | None,
            typer.Option(metavar="DIR", help="A client's folder of `keys`; repeated, one process is several clients."),
        ] = None,
        server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where it is.")] = "127.0.0.1:8443",
        data: Annotated[
            Path | None, typer.Option(help="This client's own rows; its part of the config's data if not given.")
        ] = None,
        client: Annotated[
            list[int] | None, typer.Option(min=0, help="Its number, with --insecure alone; repeatable.")
        ] = None,
        patience: Annotated[float, typer.Option(min=1, help="Seconds without a server before it gives up.")] = 600,
        quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
        insecure: Insecure = False,
        debug: Debug = False,
    ) -> None:
        """Take part in a federation: train on data that stay here, until the server says that it is finished."""
        with one_line_errors(debug, "interrupted; the same command joins again"):
            from rolora.deployment import serve_and_join

            console.quiet = quiet
            serve_and_join.join(
                locate(config), overrides or [], keys or [], client or [], server, data, patience, insecure, console
            )

    @app.command()
    def deploy(
        config: Config,
        overrides: Overrides = None,
        clients: Annotated[int | None, typer.Option(min=1, help="federation.num_clients, if it is another.")] = None,
        processes: Annotated[
            int | None, typer.Option(min=1, help="Over which the clients are spread; one for each if not given.")
        ] = None,
        out: Annotated[Path, typer.Option(help="The run gets a folder in here.")] = Path("runs"),
        resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
        deadline: Deadline = None,
        minimum_clients: Minimum = None,
        insecure: Insecure = False,
        debug: Debug = False,
    ) -> None:
        """A whole federation on this machine: a server and its clients as processes on loopback, with TLS and keys."""
        with one_line_errors(debug, "interrupted; the same command with --resume goes on"):
            from rolora.deployment import loopback

            changes = list(overrides or [])
            if clients is not None:
                changes.append(f"federation.num_clients={clients}")
            loopback.deploy(
                locate(config), changes, processes, out, resume, deadline, minimum_clients, insecure, console
            )
