"""The commands as a user calls them; runs that are stopped or start others, in a process of their own."""

from __future__ import annotations

import json
import re
import shlex
import signal
import tomllib
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rolora import config as configuration
from rolora.__main__ import main
from rolora.cli.app import app
from rolora.config import flatten, packaged_configs, reference
from rolora.errors import InputError
from tests.config.test_config import write
from tests.conftest import changed
from tests.tools import forked

rolora = partial(forked.run, "rolora")


def here(*words):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="rolora")


@pytest.fixture
def config(tmp_path, table):
    return write(tmp_path, table)


def test_list_names_what_there_is():
    answer = here("list")
    assert answer.exit_code == 0
    for name in ("fedavg-lora", "ffa-lora", "rolora", "all-MiniLM-L6-v2", "rotten-tomatoes", "quickstart", "dirichlet"):
        assert name in answer.stdout


def test_a_module_and_a_script_have_the_same_commands():
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]["rolora"]
    assert metadata.EntryPoint("rolora", declared, "console_scripts").load() is main
    module, own = rolora("--help"), here("--help")
    assert module.returncode == 0 and module.stdout.replace("python -m rolora", "rolora").split() == own.stdout.split()


def test_run_writes_a_record_and_a_table(config, tmp_path):
    answer = rolora("run", config, "--out", tmp_path / "runs")
    assert answer.returncode == 0, answer.stderr
    (directory,) = (tmp_path / "runs").iterdir()
    record = json.loads((directory / "record.json").read_text())
    assert directory.name == record["name"]
    result, *following = answer.stdout.splitlines()[-3:]
    assert result == f"accuracy {record['final']['accuracy']:.4f} on test data in {directory}"
    again = here("run", directory / "record.json", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert record["final"] == json.loads(next(tmp_path.glob("again/*/record.json")).read_text())["final"]
    for line in following:  # as pasted
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "rolora"]
        answer = here(*words[3:])
        assert answer.exit_code == 0, answer.output
    assert (directory / "exported" / "adapter_model.safetensors").exists()
    assert sorted(json.loads(path.read_text())["seed"] for path in tmp_path.glob("runs/*/record.json")) == [0, 1]


@pytest.mark.parametrize(
    ("algorithm", "options"), [("fedsa-lora", ["--client", "0"]), ("flora", ["--merged"]), ("rolora", [])]
)
def test_the_printed_export_has_what_the_method_needs(table, tmp_path, algorithm, options):
    config = changed(table, algorithm=algorithm, federation__rounds=1, evaluation__every=1)
    (tmp_path / "config.json").write_text(json.dumps({"config": config.resolved()}))
    words = shlex.split(here("run", tmp_path / "config.json", "--out", tmp_path / "a run").stdout.splitlines()[-2])
    assert words[6:] == options
    answer = here(*words[3:])
    assert answer.exit_code == 0, answer.output


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
    answer = here("run", config, "--dry-run", "--out", tmp_path / "runs")
    assert answer.exit_code == 0, answer.output
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
        (["lora.target_modules=query"], "lora.target_modules: got 'query'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(config, tmp_path, words, expected):
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "".join(f"text {i},{7 if i == 70 else i % 2}\n" for i in range(100)))
    answer = here("run", config, *(word.format(labels=labels) for word in words), "--out", tmp_path / "runs")
    assert answer.exit_code == 2
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert expected in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_several_faults_are_a_line_each(config):
    answer = here("run", config, "lora.rank=-1", "data.nam=x")
    assert answer.exit_code == 2
    assert [line.split(":")[0] for line in answer.stderr.splitlines()] == ["error", "error"]


def test_a_missing_config_names_the_packaged_ones():
    answer = here("run", "nowhere.toml")
    assert answer.exit_code == 2
    assert "expected a TOML file or one of" in answer.stderr and "quickstart" in answer.stderr


@pytest.mark.parametrize("modules", ['["query","key"]', "[query, key]", "[query,key]"])
def test_plan_takes_a_list_of_modules_with_and_without_quotes(config, modules):
    override = f"lora.target_modules={modules}"
    assert configuration.read(config, [override])[0].lora.target_modules == ("query", "key")
    answer = here("plan", config, override, "--flops-per-second", "1e9")
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("task", ["classification", "generation", "regression"])
def test_a_new_config_is_complete_and_runs_as_printed(tmp_path, task):
    text = here("config", "new", "--task", task).stdout
    assert all(f"# [{name}]" not in text and f"\n[{name}]\n" in text for name in ("model", "runtime", "privacy"))
    assert all(re.search(rf"^#?{field.key.rpartition('.')[2]} =", text, re.MULTILINE) for field in reference.fields())
    (tmp_path / "new.toml").write_text(text)
    answer = here("run", tmp_path / "new.toml", "--dry-run")
    assert answer.exit_code == 0, answer.output
    assert "Rotten Tomatoes" in answer.stdout


def test_a_new_config_takes_model_and_data(tmp_path, tiny_model, tiny_text):
    text = here("config", "new", "--model", tiny_model, "--data", tiny_text).stdout
    (tmp_path / "new.toml").write_text(text)
    answer = here("run", tmp_path / "new.toml", "model.max_length=16", "--dry-run")
    assert answer.exit_code == 0, answer.output
    assert "3, from 30 to 30 examples" in answer.stdout


@pytest.mark.parametrize("name", ["dolly", "quickstart", "confound"])
def test_a_packaged_config_is_shown_and_can_be_run_from_its_text(tmp_path, name):
    path = packaged_configs()[name]
    assert here("config", "show", name).stdout == path.read_text()
    (tmp_path / "shown.toml").write_text(here("config", "show", name, "--resolved").stdout)
    assert configuration.read(tmp_path / "shown.toml") == configuration.read(path)


def test_every_key_is_explained():
    assert all(field.meaning for field in reference.fields())
    rows = here("config", "reference").stdout.splitlines()[2:]
    keys = {row.split("`")[1] for row in rows}
    given = {
        key
        for path in packaged_configs().values()
        for config in configuration.read(path)[:1]
        for key in flatten(config.resolved())
    }
    assert {key for key in given if not key.startswith("method.")} <= keys
    assert "| `lora.rank` | integer > 0 | required | r, the inner dimension of A B |" in rows


def test_debug_shows_where(config):
    answer = here("run", config, "lora.rank=-1", "--debug")
    assert isinstance(answer.exception, InputError)


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
