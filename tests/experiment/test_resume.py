"""A run may be stopped at any instant, by any signal or by a full disk; what --resume makes of it has the same bits.

Run as a program, this module ends runs without notice before each single change that they make to their folder.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rolora import config as configuration
from rolora import records
from rolora.experiment import loop, record
from rolora.experiment.checkpoint import load_checkpoint
from rolora.keys import Key
from tests.config.test_config import write
from tests.conftest import changed
from tests.experiment.test_experiment import Stop, measured, stop_after

LIMIT = 300  # seconds for what takes a few on an idle machine

LINE = "error: interrupted; the same command with --resume goes on\n"

GRID = """
[grid]
engine = [{ runtime = { engine = "sequential" } }, { runtime = { engine = "batched" } }]
cell = [
  { algorithm = "rolora", server = { optimizer = "momentum", learning_rate = 0.5 } },
  { algorithm = "fedsa-lora" },
  { algorithm = "fedex-lora" },
]
"""
"""A server with a memory, clients that keep a factor, a residual."""


def contents(folder):
    """Every file below a folder, by its path; a record without the seconds, which differ between equal runs."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "record.json":
            record = json.loads(content)
            record.pop("seconds")
            content = record | {"rounds": measured(record)}
        found[str(path.relative_to(folder))] = content
    return found


def assert_same(folder, expected):
    found, expected = contents(folder), contents(expected)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def command(path, out):
    return [sys.executable, "-m", "rolora", "run", str(path), "--out", str(out), "--resume"]


def start(words, **options):
    return subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options,
        # A shell gives its background jobs, a test-suite among them, interrupts that are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def written(folder):
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("checkpoint.safetensors")}


def killed(words, out, number, delay, *, trains):
    """Run until it has begun to train (or only to start), wait ``delay`` seconds, send a signal: status and stderr."""
    before, process = written(out), start(words)
    try:
        deadline = time.monotonic() + LIMIT
        while trains and written(out) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return process.returncode, stderr


def test_killed_interrupted_and_terminated_at_random_instants(table, tmp_path):
    """All of a grid by one command; dropout in adapter and backbone, and half of the clients in every round."""
    table["federation"] |= {"rounds": 20, "num_clients": 4, "clients_per_round": 2}
    path = write(tmp_path, table, GRID)
    began = time.monotonic()
    subprocess.run(command(path, tmp_path / "whole"), check=True, capture_output=True, timeout=LIMIT)
    took = time.monotonic() - began
    trained = sum(json.loads(file.read_text())["seconds"] for file in (tmp_path / "whole").glob("*/record.json"))
    draw = Key(0).fold("kills").generator()
    signals = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
    expected = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
    (out := tmp_path / "cut").mkdir()
    for number in signals:  # while it starts: nothing is begun, and nothing is lost
        status, _ = killed(command(path, out), out, number, draw.uniform(0, (took - trained) / 2), trains=False)
        assert status != 0
    stopped = 0
    for number in draw.permutation(signals * 3):  # so late at most that the last finds something to stop
        number = signal.Signals(int(number))
        status, stderr = killed(command(path, out), out, number, draw.uniform(0, trained / 10), trains=True)
        if status == 0:
            break
        stopped += 1
        assert status == expected[number], stderr
        assert stderr == ("" if number == signal.SIGKILL else LINE)
    assert stopped >= 5
    subprocess.run(command(path, out), check=True, capture_output=True, timeout=LIMIT)
    assert_same(out, tmp_path / "whole")


def changes(folder, event, arguments):
    """Whether an event of the interpreter (PEP 578) is one that changes a file of the folder, or is about to."""
    if event == "open":
        about_to_write = arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        return bool(about_to_write) and str(arguments[0]).startswith(str(folder))
    return event in ("os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(str(folder))


def stop_before_every_change(config, folder):
    """End a run by SIGKILL before its first change to its folder, another before its second, and so on; resume each.

    Processes are forked from one that has loaded everything; nothing has been computed in it, so it has one thread.
    """

    def forked(directory, fatal):
        child = os.fork()
        if child == 0:
            seen = []

            def hook(event, arguments):
                if changes(directory, event, arguments):
                    seen.append(event)
                    if len(seen) == fatal:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            try:
                loop.run(config, directory, resume=True)
            except BaseException:
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    statuses = []
    for fatal in range(1, 200):
        directory = folder / str(fatal)
        statuses.append((forked(directory, fatal), forked(directory, 0)))
        if statuses[-1][0] == 0:
            break
    print(json.dumps(statuses))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_before_every_single_change_to_its_folder(table, tmp_path):
    """Between a temporary file and its name, between adapter, personal factors, record and the checkpoint's removal."""
    config = changed(table, algorithm="fedsa-lora", federation__rounds=2, training__local_steps=1)
    (tmp_path / "config.json").write_text(json.dumps(config.resolved()))
    words = [sys.executable, "-m", "tests.experiment.test_resume", str(tmp_path / "config.json"), str(tmp_path / "cut")]
    answer = subprocess.run(words, capture_output=True, text=True, timeout=2 * LIMIT)
    assert answer.returncode == 0, answer.stderr
    statuses = json.loads(answer.stdout)
    assert len(statuses) > 15
    assert statuses == [[-9, 0]] * (len(statuses) - 1) + [[0, 0]]
    loop.run(config, tmp_path / "whole")
    for directory in (tmp_path / "cut").iterdir():
        assert_same(directory, tmp_path / "whole")


@pytest.mark.parametrize("place", ["write_json", "save_beside_adapter", "flush"])
def test_interrupted_within_finish(table, tmp_path, monkeypatch, place):
    config = changed(table, algorithm="fedsa-lora")
    loop.run(config, tmp_path / "whole")

    def stop(*_):
        raise Stop

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(record if place == "save_beside_adapter" else records, place, stop)
        loop.run(config, tmp_path / "cut")
    assert (tmp_path / "cut" / loop.CHECKPOINT).exists()
    loop.run(config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_stopped_between_record_and_removal_of_the_checkpoint_it_is_finished(table, tmp_path):
    """Without --resume too: there is nothing to go on with. The checkpoint goes when the run is next asked for."""
    with pytest.raises(Stop):
        loop.run(changed(table), tmp_path / "cut", progress=stop_after(7))
    kept = (tmp_path / "cut" / loop.CHECKPOINT).read_bytes()
    record = loop.run(changed(table), tmp_path / "cut", resume=True)
    (tmp_path / "cut" / loop.CHECKPOINT).write_bytes(kept)
    assert loop.run(changed(table), tmp_path / "cut", progress=stop_after(0)) == record
    assert not (tmp_path / "cut" / loop.CHECKPOINT).exists()


def test_what_a_killed_process_had_begun_to_write_is_removed_by_the_next(table, tmp_path):
    with pytest.raises(Stop):
        loop.run(changed(table), tmp_path, progress=stop_after(7))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    begun = [tmp_path / f".{name}.{ended.pid}" for name in ("checkpoint.safetensors", "record.json")]
    others = [tmp_path / f".checkpoint.safetensors.{os.getppid()}", tmp_path / ".hidden.txt", tmp_path / ".2.x"]
    for path in (*begun, *others):
        path.write_bytes(b"a part")
    loop.run(changed(table), tmp_path, resume=True)
    assert not any(path.exists() for path in begun)
    assert all(path.exists() for path in others)  # a living process's, and what no run has written


def limited(size):
    """Files of this process may grow to ``size`` bytes; more fails as on a full disk, with another errno."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk_is_one_line_that_names_the_file_and_the_last_checkpoint_stays(table, tmp_path):
    table["federation"]["rounds"] = 30
    (config,) = configuration.read(path := write(tmp_path, table))
    folder = tmp_path / "cut" / config.run_name()
    with pytest.raises(Stop):
        loop.run(config, folder, progress=stop_after(7))
    checkpoint = folder / loop.CHECKPOINT
    # Every round adds a line of some hundred bytes to the checkpoint's history: there is room for a few more.
    room = checkpoint.stat().st_size + 1000
    process = subprocess.run(
        command(path, tmp_path / "cut"), capture_output=True, text=True, timeout=LIMIT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, preexec_fn=lambda: limited(room),
    )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr == f"error: {checkpoint}: {os.strerror(errno.EFBIG)} (--debug shows where)\n"
    assert [path.name for path in folder.iterdir()] == [loop.CHECKPOINT]
    assert 2 < len(load_checkpoint(checkpoint, config)[2]) < 30
    loop.run(config, folder, resume=True)
    loop.run(config, tmp_path / "whole" / config.run_name())
    assert_same(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("failing", ["adapter_config.json", "adapter_model.safetensors", "record.json"])
def test_a_full_disk_at_the_end_leaves_the_checkpoint(table, tmp_path, failing):
    """Files are limited to less than the size that this one has; those of PEFT are written by its own code."""
    config = changed(table, lora__rank=16)  # adapter and record are larger than the checkpoint's neighbours
    loop.run(config, tmp_path / "whole")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    run = loop.Experiment(config, tmp_path / "cut")
    while not run.over:
        opened = run.open_round()
        run.close_round(opened, run.engine.local_updates(opened.t, opened.broadcasts, opened.trainable), 0.0)
    limited(sizes[failing] - 1)
    try:
        with pytest.raises(OSError) as failure:
            run.finish()
    finally:
        limited(unlimited)
    assert Path(failure.value.filename).parent in (tmp_path / "cut", tmp_path / "cut" / "adapter")
    assert not (tmp_path / "cut" / "record.json").exists()
    assert [path.name for path in (tmp_path / "cut").glob(".*")] == []
    loop.run(config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_a_disk_that_cannot_flush_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    records.write_bytes(tmp_path / "file", b"before")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as failure:
        records.write_bytes(tmp_path / "file", b"after")
    assert failure.value.filename == str(tmp_path / "file")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"before"}


if __name__ == "__main__":
    stop_before_every_change(
        configuration.check(json.loads(Path(sys.argv[1]).read_text()), sys.argv[1]), Path(sys.argv[2])
    )
