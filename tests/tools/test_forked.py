"""The forked commands behave as processes that an interpreter starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tools import forked


def told():
    """Print what a process knows of itself."""
    print(Path.cwd(), os.environ, os.getpid() == os.getsid(0), sys.argv)
    sys.exit("a reason")


def test_folder_environment_output_and_status_are_its_own(tmp_path):
    process = forked.Process(told, cwd=tmp_path, env={"ONLY": "this"})
    assert process.wait() == 1
    assert process.stdout.startswith(f"{tmp_path} environ({{'ONLY': 'this'}}) True")
    assert process.stderr == "a reason\n"


@pytest.mark.parametrize("words", [["list"], ["run", "nowhere"]])
def test_a_command_is_the_interpreters(words):
    real = subprocess.run([sys.executable, "-m", "rolora", *words], capture_output=True, text=True)
    answer = forked.run("rolora", *words)
    assert (answer.returncode, answer.stdout, answer.stderr) == (real.returncode, real.stdout, real.stderr)


def test_an_exception_ends_it_with_its_traceback_and_a_signal_with_its_number(tmp_path):
    process = forked.Process(divmod, 1, 0)
    assert process.wait() == 1
    assert process.stderr.splitlines()[-1].startswith("ZeroDivisionError")
    process = forked.Process(time.sleep, 600, log=tmp_path / "log")
    assert process.poll() is None
    with pytest.raises(TimeoutError, match="has not ended"):
        process.wait(0.01)
    process.send_signal(signal.SIGSTOP)
    process.kill()
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(TimeoutError, match="waited in vain"):
        forked.wait_for(lambda: False, process)
