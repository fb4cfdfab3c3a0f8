"""Command lines of the project in forked processes, without the seconds that importing torch, transformers and peft takes.

One server a test process imports the packages and starts no thread. ``run`` and ``start`` have it fork a process of its own for
each command: a new session with its own arguments, folder, environment and output, which ends, or is killed, as any other. Use
``python -m`` itself only where the start of the interpreter is tested (variables that are read on import, ``torchrun``).
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import pickle
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rolora", "theory", "paper_figures")
LIMIT = 300.0
"""Seconds for what takes a few on an idle machine."""


class Process:
    """A function that runs in a process of its own, in a new session; stands for ``subprocess.Popen``.

    Args:
        function: called with ``arguments``; an uncaught exception ends the process as it ends an interpreter.
        cwd: its working folder; the caller's if None.
        env: its environment; the caller's if None. Libraries are imported already: they read no variable anew.
        log: file to which it appends all that it writes; if None, ``stdout`` and ``stderr`` are kept apart.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        cwd: Path | str | None = None,
        env: dict[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.returncode: int | None = None
        files = [log.open("a+b")] if log else [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  # closed at its end
        self._output: list[Any] = [files[0], files[-1]]
        self._status, status = os.pipe()
        with tempfile.TemporaryFile() as request:
            environment = dict(os.environ if env is None else env)
            pickle.dump((str(cwd or Path.cwd()), environment, pickle.dumps((function, arguments))), request)
            request.flush()
            socket.send_fds(_server(), [b"+"], [status, request.fileno(), *(file.fileno() for file in self._output)])
            os.close(status)
            number = os.read(self._status, 8)
        assert number, "the server of the forked processes has ended"
        self.pid = int.from_bytes(number)

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return _text(self._output[0])

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return _text(self._output[1])

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal; None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float = LIMIT) -> int:
        """Return its exit status when it has ended.

        Raises:
            TimeoutError: it runs for longer than this.
        """
        status = self._wait(timeout)
        if status is None:
            raise TimeoutError(f"process {self.pid} has not ended: {self.stdout[-2000:]}{self.stderr[-2000:]}")
        return status

    def send_signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to it, or to its group as a terminal does; nothing if it has ended."""
        if self.poll() is None:
            (os.killpg if group else os.kill)(self.pid, number)

    def kill(self) -> None:
        """End it and its group without notice, stopped or not."""
        self.send_signal(signal.SIGKILL, group=True)
        self.wait()

    def _wait(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int.from_bytes(os.read(self._status, 8), signed=True)
            os.close(self._status)
            files, self._output = self._output, [self.stdout, self.stderr]
            for file in files:
                file.close()
        return self.returncode


def start(module: str, *words: Any, first: Callable[[], Any] | None = None, **options: Any) -> Process:
    """Start ``python -m MODULE WORDS``; ``first`` is called before, ``options`` are those of ``Process``."""
    return Process(_command, module, [str(word) for word in words], first, **options)


def run(module: str, *words: Any, timeout: float = LIMIT, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE WORDS`` to its end; ``options`` are those of ``start``."""
    process = start(module, *words, **options)
    try:
        return subprocess.CompletedProcess([module, *words], process.wait(timeout), process.stdout, process.stderr)
    finally:
        process.kill()


def wait_for(reached: Callable[[], Any], *processes: Process, timeout: float = LIMIT) -> None:
    """Wait until something holds; not when a process that should bring it about has ended.

    Raises:
        TimeoutError: it does not hold in time, or can no longer.
    """
    until = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > until or (processes and all(process.poll() is not None for process in processes)):
            if reached():
                return
            raise TimeoutError(f"waited in vain: {[process.stderr[-2000:] for process in processes]}")
        time.sleep(0.005)


def _text(file: Any) -> str:
    if isinstance(file, str):  # read when the process ended
        return file
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode()


def _command(module: str, words: list[str], first: Callable[[], Any] | None) -> None:
    if first is not None:
        first()
    sys.argv = [module, *words]
    sys.modules.pop(f"{module}.__main__", None)  # imported by what ``first`` came with
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@functools.cache
def _server() -> socket.socket:
    """Start the server of this test process; it ends, and ends what it has forked, when its socket closes."""
    ours, theirs = socket.socketpair()
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    single["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    _server.process = subprocess.Popen(  # type: ignore[attr-defined]  # kept, as it is never waited for
        [sys.executable, "-m", "tests.tools.forked", str(theirs.fileno())],
        cwd=ROOT, env=os.environ | single, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    theirs.close()
    return ours


def _serve(channel: socket.socket) -> Callable[[], Any]:
    """Fork a process for each request, which reports its id; report its status. Return only in a fork, what it has to do."""
    running: dict[int, int] = {}
    while True:
        (ready, _, _) = select.select([channel], [], [], 0.005 if running else None)
        for pid in list(running):
            if (ended := os.waitpid(pid, os.WNOHANG))[0]:
                os.write(status := running.pop(pid), os.waitstatus_to_exitcode(ended[1]).to_bytes(8, signed=True))
                os.close(status)
        if not ready:
            continue
        message, fds, _, _ = socket.recv_fds(channel, 1, 4)
        if not message:
            for pid in running:
                os.killpg(pid, signal.SIGKILL)
            os._exit(0)
        status, request, *output = fds
        child = os.fork()
        if child == 0:
            os.setsid()
            os.write(status, os.getpid().to_bytes(8))
            channel.close()
            for fd in (*running.values(), status):
                os.close(fd)
            return _prepared(request, *output)
        running[child] = status
        for fd in (request, *output):
            os.close(fd)


def _prepared(request: int, stdout: int, stderr: int) -> Callable[[], Any]:
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, and so do their children
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    with os.fdopen(request, "rb") as file:
        file.seek(0)
        folder, environment, call = pickle.load(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    function, arguments = pickle.loads(call)
    return functools.partial(function, *arguments)


def _finish(work: Callable[[], Any]) -> None:
    """End this process after its work as an interpreter does, but do not take apart what the server had imported."""
    status: Any = 0
    try:
        work()
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _preload() -> None:
    """Import all modules of the packages; what needs a package that is not installed is left out."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__") and not module.name.startswith("theory.claims."):
                try:
                    import_module(module.name)
                except ModuleNotFoundError as error:
                    if (error.name or "").partition(".")[0] in PACKAGES:
                        raise
    tasks = Path("/proc/self/task")
    if tasks.exists() and (count := len(list(tasks.iterdir()))) > 1:
        raise RuntimeError(f"a process with {count} threads cannot be forked safely")


if __name__ == "__main__":
    _preload()
    gc.freeze()  # so that no collection in a fork copies the server's pages
    _finish(_serve(socket.socket(fileno=int(sys.argv[1]))))
