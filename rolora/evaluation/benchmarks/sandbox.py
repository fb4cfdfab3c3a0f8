"""Run programs written by a model, each in a process of its own with as little access as possible.

A program gets a fresh interpreter (isolated mode, no site packages) in new namespaces (user, mount, network, process
numbers: Linux, ``unshare``), every mounted file system read-only, an empty directory in memory to work in, an environment of
three variables, no open file but a pipe, limits on time, memory, file size and number of processes, an interpreter that refuses to
start processes or to open connections, and an end with all that it started when the time is up. It has Python's
standard library and nothing else. Whether the isolation holds is tried on this machine before the first program: a trial program
attempts to write beside its directory and to open a connection, and must fail. Where that cannot be had (no Linux, namespaces
forbidden, as in many containers), nothing is run unless the user says so.

This keeps accidents in. It is no proof against a program written to break out, which would have the kernel and this machine's
readable files to work with: run models that you do not trust inside a virtual machine.

A program is right if it reaches its end: then the runner, not the program, writes a secret that only the runner was told. So
``exit(0)`` in the middle of the tests is wrong. After Chen et al. 2021 (arXiv 2107.03374v2, section 2.3), whose sandbox is gVisor.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rolora.errors import InputError

Outcome = Literal["passed", "failed", "timed out"]

RUNNER = """
import json, os, sys
settings, told = json.loads(sys.stdin.readline()), sys.stdin.read()
sys.stdin.close()
import resource
out = os.dup(1)
os.set_inheritable(out, False)
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
os.close(nothing)
secret, _, program = told.partition("\\n")
for name, value in settings["limits"].items():
    kind = getattr(resource, name, None)
    if kind is not None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
sys.argv = ["program"]
end, word, refused = os.write, secret.encode(), tuple(settings["refused"])
del secret, told
def refuse(event, arguments):
    if event.startswith(refused):
        raise PermissionError(event)
if refused:
    sys.addaudithook(refuse)
exec(compile(program, "program", "exec"), {"__name__": "__main__"})
end(out, word)
os._exit(0)
"""

REFUSED = (
    "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "subprocess.", "pty.", "socket.connect",
    "socket.bind", "socket.sendto", "socket.sendmsg", "ctypes.", "_thread.start_", "_posixsubprocess.",
)  # fmt: skip
"""CPython's audit events that no program needs, refused in the interpreter before the system call."""

# Every mount is made read-only, and the program is not started if one is not; then the only place to write to is memory.
# Of several mounts at one place the last is on top; what an earlier /proc held below it cannot be reached any more.
ISOLATE = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=16m,mode=700 none "$1"
while read -r _ _ _ _ place _; do
  place=$(printf '%b' "$place")
  [ "$place" = "$1" ] || mount -o remount,bind,ro "$place" 2>/dev/null || true
done < /proc/self/mountinfo
awk -v own="$1" '{ top[$5] = $6 } END { for (place in top)
  if (place != own && place !~ "^/proc/" && "," top[place] "," !~ ",ro,") exit 3 }' /proc/self/mountinfo
cd "$1"
shift
exec "$@"
"""

TRIAL = """
import os, socket
for place in {places!r}:
    try:
        descriptor = os.open(os.path.join(place, "rolora-trial-{mark}"), os.O_CREAT | os.O_WRONLY)
    except OSError:
        continue
    os.unlink(os.path.join(place, "rolora-trial-{mark}"))
    raise AssertionError("could write to " + place)
with open("own", "w") as file:
    file.write("x")
assert [name for _, name in socket.if_nameindex() if name != "lo"] == []
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=1).close()
except OSError:
    pass
else:
    raise AssertionError("could connect")
"""


@dataclass(frozen=True)
class Sandbox:
    """Limits of a program.

    Args:
        isolated: in namespaces; else limits and an empty directory are the only protection.
        seconds: of wall clock a program has.
        memory: bytes of address space.
    """

    isolated: bool = True
    seconds: float = 10.0
    memory: int = 1 << 30

    def describe(self) -> dict[str, object]:
        """Return the entry of a record."""
        return {"isolated": self.isolated, "seconds": self.seconds, "memory_bytes": self.memory}

    def run(self, program: str, refused: Sequence[str] = REFUSED) -> Outcome:
        """Run one program to its end; ``refused`` events end it."""
        secret = secrets.token_hex(16)
        with tempfile.TemporaryDirectory(prefix="rolora-program-") as folder:
            process = subprocess.Popen(
                self._command(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "PATH": os.defpath},
                close_fds=True,
                start_new_session=True,
            )
            settings = json.dumps({"limits": self._limits(), "refused": list(refused)})
            try:
                written, _ = process.communicate(f"{settings}\n{secret}\n{program}".encode(), timeout=self.seconds)
            except subprocess.TimeoutExpired:
                return "timed out"
            finally:
                _end(process)
        return "passed" if written.decode(errors="replace") == secret else "failed"

    def _limits(self) -> dict[str, int]:
        return {
            "RLIMIT_AS": self.memory,
            "RLIMIT_CPU": int(self.seconds) + 1,
            "RLIMIT_FSIZE": 1 << 20,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_NPROC": 0,  # the system does not hold root to it
            "RLIMIT_CORE": 0,
        }

    def _command(self, folder: str) -> list[str]:
        runner = [sys.executable, "-I", "-S", "-c", RUNNER]
        if not self.isolated:
            return runner
        apart = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"]
        return [*apart, "--mount-proc", "/bin/sh", "-c", ISOLATE, "sh", folder, *runner]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def open_sandbox(*, unisolated: bool = False, seconds: float = 10.0, memory: int = 1 << 30) -> Sandbox:
    """Return a sandbox that has been tried on this machine.

    Args:
        unisolated: run programs even though they could write files and open connections.
        seconds: a program has.
        memory: bytes it has.

    Raises:
        InputError: isolation was asked for and cannot be had, or no program can be run at all.
    """
    sandbox = Sandbox(not unisolated, seconds, memory)
    if os.name != "posix":
        raise InputError(
            key="--execute-generated-code", expected="a POSIX system, for its limits on memory and processes"
        )
    if sandbox.isolated:
        reason = "unshare (util-linux, Linux) is not here" if shutil.which("unshare") is None else _tried(sandbox)
        if reason:
            raise InputError(
                f"--execute-generated-code: programs cannot be isolated on this machine ({reason}); run this inside a "
                "virtual machine or a container of its own with --without-isolation, or leave both out to generate only"
            )
    if sandbox.run("assert 1 + 1 == 2") != "passed" or sandbox.run("assert 1 + 1 == 3") != "failed":
        raise InputError(
            key="--execute-generated-code", expected="a machine on which a trial program passes and fails as it should"
        )
    return sandbox


def _tried(sandbox: Sandbox) -> str | None:
    """Return the reason why isolation fails, or None."""
    if sandbox.run("pass") != "passed":
        return "namespaces are not allowed to this user"
    places = _places()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        trial = TRIAL.format(places=places, mark=secrets.token_hex(4), port=listening.getsockname()[1])
        if sandbox.run(trial, refused=()) != "passed":
            return "a trial program could write a file or open a connection"
    return None


def _places() -> Sequence[str]:
    """Return directories that this process may write to and a program must not."""
    candidates = (Path.home(), Path.cwd(), Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/dev/shm"))
    return [str(place) for place in dict.fromkeys(candidates) if os.access(place, os.W_OK)]
