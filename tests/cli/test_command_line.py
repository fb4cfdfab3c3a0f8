"""The commands as a user calls them: in a process of their own."""

from __future__ import annotations

import json
import signal
from functools import partial

import pytest

from rolora import config as configuration
from tests.config.test_config import write
from tests.tools import forked

rolora = partial(forked.run, "rolora")


@pytest.fixture
def config(tmp_path, table):
    return write(tmp_path, table)


def test_list_names_what_there_is():
    answer = rolora("list")
    assert answer.returncode == 0
    for name in ("fedavg-lora", "ffa-lora", "rolora", "all-MiniLM-L6-v2", "rotten-tomatoes", "quickstart", "dirichlet"):
        assert name in answer.stdout


def test_run_writes_a_record_and_a_table(config, tmp_path):
    answer = rolora("run", config, "--out", tmp_path / "runs")
    assert answer.returncode == 0, answer.stderr
    (directory,) = (tmp_path / "runs").iterdir()
    record = json.loads((directory / "record.json").read_text())
    assert directory.name == record["name"]
    assert f"{record['final']['accuracy']:.4f}" in answer.stdout
    again = rolora("run", directory / "record.json", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    first, second = (
        json.loads(next(f.glob("*/record.json")).read_text()) for f in (tmp_path / "runs", tmp_path / "again")
    )
    assert first["final"] == second["final"]


def test_a_grid_in_parallel_has_the_bits_of_one_after_another(tmp_path, table):
    config = write(tmp_path, table, '[grid]\nalgorithm = ["fedavg-lora", "rolora"]\nseed = [0, 1]\n')
    for jobs in (1, 2):
        answer = rolora("run", config, "--out", tmp_path / str(jobs), "--jobs", jobs)
        assert answer.returncode == 0, answer.stderr
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) == 4
    for name in names:
        one, two = ((tmp_path / jobs / name / "adapter" / "adapter_model.safetensors").read_bytes() for jobs in "12")
        assert one == two


def test_dry_run_loads_everything_and_writes_nothing(config, tmp_path):
    answer = rolora("run", config, "--dry-run", "--out", tmp_path / "runs")
    assert answer.returncode == 0, answer.stderr
    assert "3, from 60 to 60 examples" in answer.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lora.rnk=3"], "unknown key lora.rnk"),
        (["lora.rank=-1"], "lora.rank: got -1"),
        (["model.name=./nowhere"], "model.name: got './nowhere'"),
        (["data.num_labels=2", "data.name={labels}"], "label 7, expected 0 to 1"),
        (["federation.num_clients=400"], "leaves client 180 without data"),
        (["nonsense"], "expected key=value"),
    ],
)
def test_bad_input_is_one_line_and_status_2(config, tmp_path, words, expected):
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "".join(f"text {i},{7 if i == 70 else i % 2}\n" for i in range(100)))
    answer = rolora("run", config, *(word.format(labels=labels) for word in words), "--out", tmp_path / "runs")
    assert answer.returncode == 2
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert expected in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_a_missing_config_names_the_packaged_ones():
    answer = rolora("run", "nowhere.toml")
    assert answer.returncode == 2
    assert "expected a TOML file or one of" in answer.stderr
    assert "quickstart" in answer.stderr


def test_debug_shows_where(config):
    answer = rolora("run", config, "lora.rank=-1", "--debug")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr


def test_a_killed_run_resumes_to_the_same_bits(tmp_path, table):
    table["federation"]["rounds"] = 60
    config = write(tmp_path, table)
    name = configuration.read(config)[0].run_name()
    assert rolora("run", config, "--out", tmp_path / "whole").returncode == 0
    process = forked.start("rolora", "run", config, "--out", tmp_path / "cut")
    forked.wait_for((tmp_path / "cut" / name / "checkpoint.safetensors").exists, process)
    process.kill()
    assert not (tmp_path / "cut" / name / "record.json").exists()
    refused = rolora("run", config, "--out", tmp_path / "cut")
    assert refused.returncode == 2
    assert "add --resume" in refused.stderr
    assert rolora("run", config, "--out", tmp_path / "cut", "--resume").returncode == 0
    one, two = (tmp_path / place / name / "adapter" / "adapter_model.safetensors" for place in ("whole", "cut"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_stops_everything_with_one_line_and_keeps_the_checkpoints(tmp_path, table, jobs):
    table["federation"]["rounds"] = 100_000
    config = write(tmp_path, table, "[grid]\nseed = [0, 1, 2]\n")
    process = forked.start("rolora", "run", config, "--out", tmp_path / "runs", "--jobs", jobs)
    try:
        forked.wait_for(lambda: len(list(tmp_path.glob("runs/*/checkpoint.safetensors"))) == jobs, process)
        process.send_signal(signal.SIGINT, group=True)  # as a terminal does: to the command and all its workers
        assert process.wait() == 130
    finally:
        process.kill()
    assert process.stderr == "error: interrupted; the same command with --resume goes on\n"
    assert len(list(tmp_path.glob("runs/*/checkpoint.safetensors"))) == jobs
