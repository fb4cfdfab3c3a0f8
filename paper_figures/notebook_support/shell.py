"""A command line as a reader would type it, and what it says, without what differs from one execution to the next."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from paper_figures.notebook_support.execute import ENVIRONMENT

ON_THE_WAY = re.compile(r": \d+/\d+ local updates, ")
"""A line that a run prints after so many seconds, where it takes so long."""

COLOURS = ("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables by which a kernel asks programs for colours and moving bars."""

TIME_HEADING, LAST_NUMBER = re.compile(r"\s+seconds\s*$"), re.compile(r"\s+[\d.,]+\s*$")
"""Of a printed table: a last column that another execution fills otherwise, and the end of its rows."""


@dataclass(frozen=True)
class ShellOutput:
    """Output and exit status of a command.

    Args:
        command: as typed.
        status: its exit status.
        text: standard output, then standard error.
    """

    command: str
    status: int
    text: str

    @property
    def lines(self) -> list[str]:
        """The printed lines that are not blank."""
        return [line for line in self.text.splitlines() if line.strip()]

    def _repr_markdown_(self) -> str:
        ended = "" if self.status == 0 else f"\n[status {self.status}]"
        return f"```text\n$ {self.command}\n{self.text.strip()}{ended}\n```"


def run(command: str) -> ShellOutput:
    """Run ``python ...`` in the current folder and keep what it says.

    Args:
        command: begins with ``python``; this interpreter is taken, without a shell.

    Returns:
        Its words, but for a column of seconds, which is left out, and this folder's own path, which becomes a dot.

    Raises:
        ValueError: it is another program.

    Example:
        >>> run("python -c 'print(1 + 1)'").lines
        ['2']
    """
    program, *arguments = shlex.split(command)
    if program != "python":
        raise ValueError(f"got {program!r}, expected a command that begins with python")
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=plain_environment()
    )
    text = "\n".join(part.rstrip() for part in (done.stdout, done.stderr) if part.strip())
    for place in {str(Path.cwd()), os.environ.get("PWD", str(Path.cwd()))}:
        text = text.replace(place, ".")
    return ShellOutput(command, done.returncode, without_times(text))


def plain_environment() -> dict[str, str]:
    """This process's environment, but for what a kernel sets so that programs take a pipe for a terminal in colour."""
    return {name: value for name, value in os.environ.items() if name not in COLOURS} | ENVIRONMENT | {"NO_COLOR": "1"}


def without_times(text: str) -> str:
    r"""Lines without those that tell how far a run is, and a printed table without its last column, where that holds seconds.

    Args:
        text: lines, of which some are a table.

    Example:
        >>> print(without_times("run  acc  seconds\none  0.5       12\nafter 3"))
        run  acc
        one  0.5
        after 3
    """
    kept, width = [], 0
    for line in text.splitlines():
        if ON_THE_WAY.search(line):
            continue
        if TIME_HEADING.search(line):
            width, line = len(line.rstrip()), TIME_HEADING.sub("", line)
        elif width and len(line.rstrip()) == width:
            line = LAST_NUMBER.sub("", line)
        else:
            width = 0
        kept.append(line.rstrip())
    return "\n".join(kept)
