"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rolora.errors import InputError

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file, name of a packaged config, or a run's record.json.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Such as federation.rounds=10; they win.")
]
Out = Annotated[Path, typer.Option(help="Each run gets a folder in here.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue unfinished runs.")]
Jobs = Annotated[int, typer.Option(min=1, help="Runs at the same time, each in a process.")]
Together = Annotated[
    bool, typer.Option("--together", help="With the batched engine: train runs in lockstep on one backbone.")
]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="TRACKER", help="Also log to tensorboard, mlflow or wandb, as these are set up; repeatable."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here.")]
Data = Annotated[Path | None, typer.Option(help="File, folder or wheel; the hub if not given.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback instead of one line.")]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="No TLS and no authentication: anybody who reaches the port takes part.")
]
Deadline = Annotated[
    float | None, typer.Option(min=0.1, help="Seconds that a round waits for its clients; no limit if not given.")
]
Minimum = Annotated[
    int | None,
    typer.Option(min=1, help="Answers that close a round at the deadline; all that were asked for if not given."),
]

INTERRUPTED = "interrupted; the same command with --resume goes on"


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return the numbers of an option such as ``--seeds 0,1,2``, each once.

    Raises:
        InputError: there is something else.
    """
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise InputError(key=option, got=text, expected="whole numbers such as 0,1,2") from None
