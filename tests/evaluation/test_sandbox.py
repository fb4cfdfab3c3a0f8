"""Generated programs: what they can do, what they cannot, and that nothing runs unasked."""

from __future__ import annotations

import os
import socket
import time

import pytest

from rolora.errors import InputError
from rolora.evaluation.benchmarks import sandbox as execution
from rolora.evaluation.benchmarks.sandbox import Sandbox, open_sandbox

FREE = Sandbox(isolated=False, seconds=20.0)


@pytest.fixture(scope="module")
def sandbox():
    try:
        return open_sandbox(seconds=20.0)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("import math, typing\nassert math.sqrt(4) == 2", "passed"),
        ("assert 1 == 2", "failed"),
        ("def f(:", "failed"),
        ("exit(0)", "failed"),  # an end before the end of the tests is not the end
        ("import os\nos._exit(0)", "failed"),
        ("x = [0] * 10**10", "failed"),
        ("import sys\nassert sys.stdin.read()", "failed"),
        ("import os\nassert set(os.environ) <= {'LC_ALL', 'PYTHONHASHSEED', 'PATH', 'PWD', 'OLDPWD', 'SHLVL', '_'}", "passed"),
        ("import os\nassert os.listdir('.') == []", "passed"),
        ("import os\nos.system('true')", "failed"),
        ("import os\nos.fork()", "failed"),
        ("import subprocess\nsubprocess.run(['true'])", "failed"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "failed"),
        ("open('big', 'w').write('x' * 2**22)", "failed"),
        ("print('x' * 2**22)", "passed"),
        ("import numpy", "failed"),
    ],
)  # fmt: skip
def test_limits_hold_without_namespaces_too(program, outcome):
    assert FREE.run(program) == outcome


def test_time_ends_a_program_and_all_that_it_started():
    begun = time.monotonic()
    assert Sandbox(isolated=False, seconds=1.0).run("while True: pass") == "timed out"
    assert time.monotonic() - begun < 10


def test_no_open_file_is_inherited(tmp_path):
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert FREE.run("import os\nassert len(os.listdir('/proc/self/fd')) == 5") == "passed"  # 0-2, a pipe, this


def test_nothing_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(execution.tempfile, "tempdir", str(tmp_path))
    assert FREE.run("open('left', 'w').write('x')") == "passed"
    assert list(tmp_path.iterdir()) == []


def test_in_namespaces_no_file_of_this_machine_changes(sandbox, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    for act in (
        f"open({str(victim)!r}, 'w')",
        f"import os\nos.remove({str(victim)!r})",
        f"import os\nos.chmod({str(victim)!r}, 0)",
    ):
        assert sandbox.run(act, refused=()) == "failed"
    assert victim.read_text() == "as it was"
    assert sandbox.run("open('own', 'w').write('x')\nassert open('own').read() == 'x'") == "passed"


def test_in_namespaces_there_is_no_network_and_no_other_process(sandbox):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connect = f"import socket\nsocket.create_connection({listening.getsockname()!r}, timeout=2)"
        assert FREE.run(connect, refused=()) == "passed"  # or the next line proves nothing
        assert sandbox.run(connect, refused=()) == "failed"
    others = "import os\nassert [name for name in os.listdir('/proc') if name.isdigit()] == [str(os.getpid())]"
    assert sandbox.run(others) == "passed"


def test_a_machine_without_namespaces_is_refused_unless_the_user_says_so(monkeypatch):
    monkeypatch.setattr(execution.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"unshare .* is not here.* --without-isolation"):
        open_sandbox()
    assert open_sandbox(unisolated=True).describe()["isolated"] is False


def test_isolation_that_does_not_hold_is_noticed(monkeypatch, tmp_path):
    unprotected = Sandbox._command
    monkeypatch.setattr(Sandbox, "_command", lambda self, folder: unprotected(FREE, folder))
    monkeypatch.setattr(execution.shutil, "which", lambda name: "unshare")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="a trial program could write a file or open a connection"):
        open_sandbox()
    assert list(tmp_path.iterdir()) == []
