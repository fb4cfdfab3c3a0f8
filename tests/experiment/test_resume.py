"""A run may be stopped at any instant, by any signal or by a full disk; what --resume makes of it has the same bits."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from rolora import config as configuration
from rolora import records
from rolora.experiment import loop, record
from rolora.experiment.checkpoint import load_checkpoint
from rolora.keys import Key
from tests.config.test_config import write
from tests.conftest import changed
from tests.experiment.cutting import limited, run_until
from tests.experiment.test_experiment import Stop, assert_same, stop_after
from tests.tools import forked

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


def command(path, out):
    return ["rolora", "run", path, "--out", out, "--resume"]


def written(folder):
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("checkpoint.safetensors")}


def stopped_by(number, words, out, delay, *, trains):
    """Run until it has begun to train (or only to start), wait ``delay`` seconds, send a signal: status and stderr."""
    before, process = written(out), forked.start(*words)
    try:
        forked.wait_for(lambda: not trains or written(out) - before, process)
        time.sleep(delay)
        process.send_signal(number)
        return process.wait(), process.stderr
    finally:
        process.kill()


def test_killed_interrupted_and_terminated_at_random_instants(table, tmp_path):
    """All of a grid by one command; dropout in adapter and backbone, and half of the clients in every round."""
    table["federation"] |= {"rounds": 20, "num_clients": 4, "clients_per_round": 2}
    path = write(tmp_path, table, GRID)
    began = time.monotonic()
    assert forked.run(*command(path, tmp_path / "complete")).returncode == 0
    took = time.monotonic() - began
    trained = sum(json.loads(file.read_text())["seconds"] for file in (tmp_path / "complete").glob("*/record.json"))
    delays = Key(0).fold("kills").generator()
    (out := tmp_path / "cut").mkdir()
    expected = {signal.SIGKILL: (-9, ""), signal.SIGINT: (130, LINE), signal.SIGTERM: (143, LINE)}
    for number in expected:  # while it starts: nothing is begun, and nothing is lost
        status, _ = stopped_by(number, command(path, out), out, delays.uniform(0, (took - trained) / 6), trains=False)
        assert status != 0
    for number, outcome in expected.items():  # so early that the last finds something to stop
        assert stopped_by(number, command(path, out), out, delays.uniform(0, trained / 6), trains=True) == outcome
    assert forked.run(*command(path, out)).returncode == 0
    assert_same(out, tmp_path / "complete")


def test_killed_before_every_single_change_to_its_folder(table, tmp_path):
    """Between a temporary file and its name, between adapter, personal factors, record and the checkpoint's removal."""
    config = changed(table, algorithm="fedsa-lora", federation__rounds=2, training__local_steps=1)
    loop.run(config, tmp_path / "complete")
    statuses = []
    while not statuses or statuses[-1] == -signal.SIGKILL:
        folder = tmp_path / "cut" / str(len(statuses))
        cut = forked.Process(run_until, config, folder, len(statuses) + 1)
        statuses.append(cut.wait())
        loop.run(config, folder, resume=True)
        assert_same(folder, tmp_path / "complete")
    assert statuses[-1] == 0, cut.stderr
    assert 15 < len(statuses) < 200


@pytest.mark.parametrize("place", ["write_json", "save_beside_adapter", "flush"])
def test_interrupted_within_finish(finished_run, tmp_path, monkeypatch, place):
    expected = finished_run(algorithm="fedsa-lora")
    config = expected.config

    def stop(*_):
        raise Stop

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(record if place == "save_beside_adapter" else records, place, stop)
        loop.run(config, tmp_path / "cut")
    assert (tmp_path / "cut" / loop.CHECKPOINT).exists()
    loop.run(config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "cut", expected.folder)


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


def test_a_full_disk_is_one_line_that_names_the_file_and_the_last_checkpoint_stays(table, finished_run, tmp_path):
    table["federation"]["rounds"] = 30
    (config,) = configuration.read(path := write(tmp_path, table))
    folder = tmp_path / "cut" / config.run_name()
    with pytest.raises(Stop):
        loop.run(config, folder, progress=stop_after(7))
    checkpoint = folder / loop.CHECKPOINT
    # Every round adds a line of some hundred bytes to the checkpoint's history: there is room for a few more.
    room = checkpoint.stat().st_size + 1000
    process = forked.run(*command(path, tmp_path / "cut"), first=partial(limited, room))
    assert process.returncode == 1
    assert process.stderr == f"error: {checkpoint}: {os.strerror(errno.EFBIG)} (--debug shows where)\n"
    assert [path.name for path in folder.iterdir()] == [loop.CHECKPOINT]
    assert 2 < len(load_checkpoint(checkpoint, config)[2]) < 30
    loop.run(config, folder, resume=True)
    assert_same(folder, finished_run(federation__rounds=30).folder)


@pytest.mark.parametrize("failing", ["adapter_config.json", "adapter_model.safetensors", "record.json"])
def test_a_full_disk_at_the_end_leaves_the_checkpoint(finished_run, tmp_path, failing):
    """Files are limited to less than the size that this one has; those of PEFT are written by its own code."""
    expected = finished_run(lora__rank=16)  # adapter and record are larger than the checkpoint's neighbours
    config = expected.config
    sizes = {path.name: path.stat().st_size for path in expected.folder.rglob("*") if path.is_file()}
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
    assert_same(tmp_path / "cut", expected.folder)


def test_a_disk_that_cannot_flush_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    records.write_bytes(tmp_path / "file", b"before")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as failure:
        records.write_bytes(tmp_path / "file", b"after")
    assert failure.value.filename == str(tmp_path / "file")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"before"}
