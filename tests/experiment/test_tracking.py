"""Trackers log every round, change no bit of a run, and leave nothing where nothing was run."""

from __future__ import annotations

import json

import pytest
from accelerate import tracking as accelerate_tracking
from rich.console import Console

from rolora.errors import InputError
from rolora.experiment import loop, record, tracking
from rolora.experiment.parallel import run_all
from tests.config.test_config import write
from tests.conftest import changed
from tests.experiment.test_experiment import Stop, assert_same, stop_after
from tests.tools import forked


class Notebook(accelerate_tracking.GeneralTracker):
    """A tracker that only remembers."""

    name = "notebook"
    requires_logging_directory = True
    kept: list = []  # noqa: RUF012 - shared on purpose: the class is what is registered

    def __init__(self, run_name, logging_dir):
        super().__init__()
        self.run_name, self.logging_dir = run_name, logging_dir

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.kept.append(("config", self.run_name, values))

    def log(self, values, step=None, **kwargs):
        self.kept.append(("log", step, values))

    def finish(self):
        self.kept.append(("finish",))


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(
        accelerate_tracking, "LOGGER_TYPE_TO_CLASS", accelerate_tracking.LOGGER_TYPE_TO_CLASS | {"notebook": Notebook}
    )
    monkeypatch.setattr(Notebook, "kept", [])
    return Notebook.kept


def run(configs, out, **options):
    return run_all(configs, out, options.pop("resume", False), 1, Console(quiet=True), track=["notebook"], **options)


def test_a_tracker_is_told_every_round_and_changes_no_bit(tmp_path, notebook, finished_run):
    expected = finished_run(evaluation__select="test")
    config = expected.config
    (logged_record,) = run([config], tmp_path)
    (_, name, settings), *logged, (last,) = notebook
    assert name == config.run_name()
    assert settings["training.learning_rate"] == 0.01
    assert settings["lora.target_modules"] == '["query", "value"]'
    assert "lora.layers" not in settings
    steps = [step for _, step, _ in logged]
    assert steps == [1, 2, 3, 4, 4]
    for (_, _, values), entry in zip(logged, logged_record["rounds"], strict=False):
        assert values["train/loss"] == entry["loss"]
        assert values["bytes/up"] == sum(entry["bytes_up"].values())
        assert values["seconds"] == entry["seconds"]
        assert ("validation/accuracy" in values, "test/accuracy" in values) == (bool(entry["evaluation"]),) * 2
    assert logged[-1][2] == {f"final/{name}": logged_record["final"][name] for name in ("accuracy", "loss")}
    assert last == "finish"
    assert_same(tmp_path / config.run_name(), expected.folder)


def test_a_finished_run_is_not_told_again_and_a_resumed_one_from_its_start(table, tmp_path, notebook):
    config = changed(table)
    with pytest.raises(Stop):
        loop.run(config, tmp_path / config.run_name(), progress=stop_after(7))
    run([config], tmp_path, resume=True)
    assert [step for kind, step, *_ in notebook[1:-1]] == [1, 2, 3, 4, 4]
    notebook.clear()
    run([config], tmp_path)
    assert notebook == []


def test_an_interrupted_run_closes_its_tracker(table, tmp_path, notebook, monkeypatch):
    def stop(*_):
        raise Stop

    config = changed(table)
    monkeypatch.setattr(record, "describe", stop)
    with pytest.raises(Stop):
        run([config], tmp_path)
    assert notebook[-1] == ("finish",)


def test_runs_in_lockstep_are_told_one_after_another(table, tmp_path, notebook):
    configs = [changed(table, runtime__engine="batched", seed=seed) for seed in (0, 1)]
    run(configs, tmp_path, together=True)
    kinds = [entry[0] for entry in notebook]
    assert kinds == ["config", *["log"] * 5, "finish"] * 2
    assert [entry[1] for entry in notebook if entry[0] == "config"] == [config.run_name() for config in configs]


def test_a_tracker_that_is_not_there_is_one_line_before_anything_is_run(table, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerate_tracking, "get_available_trackers", list)
    for name, words in (
        ("tensorboard", "pip install tensorboard"),
        ("abacus", r"--track: got 'abacus', expected one of"),
    ):
        with pytest.raises(InputError, match=words):
            run_all([changed(table)], tmp_path / "runs", False, 1, Console(quiet=True), track=[name])
    assert not (tmp_path / "runs").exists()


def test_nothing_is_sent_unless_the_user_says_so(table, tmp_path, monkeypatch):
    config = changed(table)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert tracking._arguments("wandb", object, config, tmp_path)["mode"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert tracking._arguments("wandb", object, config, tmp_path)["mode"] == "online"


def test_tensorboard_reads_what_was_logged(table, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    words = ["run", write(tmp_path, table), "--out", tmp_path / "runs", "--track", "tensorboard"]
    answer = forked.run("rolora", *words)
    assert answer.returncode == 0, answer.stderr
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (tmp_path / "runs").glob("*/tensorboard")
    record = json.loads((folder.parent / "record.json").read_text())
    events = EventAccumulator(str(folder))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert [step for step, _ in found] == [1, 2, 3, 4]
    assert [value for _, value in found] == pytest.approx([entry["loss"] for entry in record["rounds"]], rel=1e-6)
    assert [event.step for event in events.Scalars("test/accuracy")] == [2, 4]
