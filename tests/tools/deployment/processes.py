"""Commands of the project as processes that can be stopped, continued and killed, without the seconds that their imports cost.

They are forked from a server process that has imported everything and started no thread; each is a process of its own in every
other respect, runs the same command line, and writes into a file.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 240.0
"""Seconds for what takes a few on an idle machine."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["rolora.deployment.serve_and_join", "tests.tools.deployment.preloaded"])


def command(arguments: list[str], log: str, folder: str | None, version: str | None) -> None:
    """What a process does: one command line, its output in a file; in a folder, as another version."""
    if folder is not None:
        os.chdir(folder)
    if version is not None:
        import rolora

        rolora.__version__ = version
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.argv = ["rolora", *arguments]
    from rolora.cli.app import app
    from rolora.cli.tables import console

    console.file = sys.stdout
    app(prog_name="python -m rolora")


class Process:
    """One command that was started."""

    def __init__(self, arguments: list[str], log: Path, folder: Path | None = None, version: str | None = None) -> None:
        self.log, self.arguments = log, arguments
        place = None if folder is None else str(folder)
        self._process = CONTEXT.Process(target=command, args=(arguments, str(log), place, version), daemon=True)
        self._process.start()

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text() if self.log.exists() else ""

    def wait_for(self, text: str, from_: int = 0) -> None:
        """Wait until it has written something."""
        wait_until(lambda: text in self.text()[from_:], f"{self.log.name} to say {text!r}", self)

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it without notice."""
        self._process.kill()
        self._process.join(LIMIT)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    def finish(self) -> int:
        """Wait for its end, and return its status."""
        self._process.join(LIMIT)
        assert self._process.exitcode is not None, f"{self.arguments[0]} did not end: {self.text()[-2000:]}"
        return self._process.exitcode

    def stop(self) -> None:
        """Leave nothing behind."""
        if self._process.is_alive():
            self.signal(signal.SIGCONT)
            self.kill()


def wait_until(reached: Callable[[], bool], what: str, *processes: Process) -> None:
    """Wait for something that must come."""
    until = time.monotonic() + LIMIT
    while not reached():
        for process in processes:
            assert process.status in (None, 0), f"ended with {process.status}: {process.text()[-2000:]}"
        assert time.monotonic() < until, f"waited in vain for {what}: {[p.text()[-1000:] for p in processes]}"
        time.sleep(0.02)


class Federation:
    """A server and its clients on loopback, started one by one."""

    def __init__(self, folder: Path, config: Path, keys: Path, port: int) -> None:
        self.folder, self.config, self.keys, self.port = folder, config, keys, port
        self.started: list[Process] = []

    def server(self, *options: str, resume: bool = False, folder: Path | None = None) -> Process:
        """Start the server, in a folder."""
        more = [*options, *(["--resume"] if resume else [])]
        return self._start(
            "server", ["serve", str(self.config), "--keys", str(self.keys / "server"), "--port", str(self.port),
                       "--out", str(self.folder / "runs"), *more], folder
        )  # fmt: skip

    def client(
        self,
        *numbers: int,
        config: Path | None = None,
        options: tuple[str, ...] = (),
        folder: Path | None = None,
        version: str | None = None,
    ) -> Process:
        """Start one client, or several in one process; with another config, in a folder, as another version."""
        who = [part for number in numbers for part in ("--keys", str(self.keys / f"client-{number}"))]
        name = f"client-{'-'.join(map(str, numbers))}"
        return self._start(
            name,
            ["join", str(config or self.config), *who, "--server", f"127.0.0.1:{self.port}", *options],
            folder,
            version,
        )

    def _start(
        self, name: str, arguments: list[str], folder: Path | None = None, version: str | None = None
    ) -> Process:
        process = Process(arguments, self.folder / f"{name}-{len(self.started)}.log", folder, version)
        self.started.append(process)
        return process


@contextmanager
def federation(folder: Path, config: Path, keys: Path, port: int) -> Iterator[Federation]:
    """A federation whose processes are gone at the end, whatever became of them."""
    one = Federation(folder, config, keys, port)
    try:
        yield one
    finally:
        for process in one.started:
            process.stop()
