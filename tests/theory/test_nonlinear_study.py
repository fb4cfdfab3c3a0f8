"""The studies of the two-layer model: splits, partitions, choice of the learning rate, and the shape of the records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import theory.__main__ as cli
from paper_figures.records import sources
from rolora.errors import InputError
from rolora.keys import Key
from tests.theory.test_images import tiny, write
from theory.nonlinear import images
from theory.studies import nonlinear as study

TINY = replace(study.QUICK, learning_rates=(0.2,), seeds=1, rounds=5, evaluate_every=5, window=1)
DIGITS = images.find("digits")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tiny idx files, and a quick study of their size: six images of a label for training, batches of two."""
    small = replace(study.QUICK_FULL_SIZE, batch_size=2, learning_rates=(0.1, 0.5))
    monkeypatch.setattr(study, "QUICK_FULL_SIZE", small)
    made = tmp_path / "images"
    made.mkdir()
    return write(made, tiny())


def test_split_is_stratified_disjoint_and_named_by_the_key() -> None:
    parts = study.split(Key(3), DIGITS, study.Settings())
    together = np.concatenate(list(parts.values()))
    assert len(together) == len(np.unique(together)) == 1797
    counts = np.bincount(DIGITS.labels[parts["test"]], minlength=10)
    assert counts.min() >= 35 and counts.max() <= 37
    other = study.split(Key(4), DIGITS, study.Settings())
    assert not np.array_equal(parts["test"], other["test"])


def test_a_given_test_split_is_kept_and_validation_held_out_from_training(folder: Path) -> None:
    found = images.find(str(folder))
    parts = study.split(Key(3), found, replace(study.FULL_SIZE, validation_share=0.2))
    np.testing.assert_array_equal(parts["test"], found.test)
    assert (len(parts["validation"]), len(parts["train"])) == (10, 50)
    assert len(np.unique(np.concatenate(list(parts.values())))) == 80
    assert np.bincount(found.labels[parts["validation"]]).tolist() == [1] * 10


@pytest.mark.parametrize("panel", study.PANELS, ids=lambda panel: panel.name)
def test_clients_hold_the_training_images_and_the_stated_labels(panel: study.Panel) -> None:
    train = study.split(Key(0), DIGITS, study.Settings())["train"]
    clients = study.divide(Key(0), DIGITS.labels, train, panel)
    assert len(clients) == panel.num_clients
    assert np.array_equal(np.sort(np.concatenate(clients)), train)
    labels = [set(DIGITS.labels[part]) for part in clients]
    if panel.labels_per_client is None:
        assert all(len(held) == 10 for held in labels)
    else:
        assert [len(held) for held in labels] == [panel.labels_per_client] * panel.num_clients
        assert len(set.union(*labels)) == 10


def test_methods_start_from_the_same_point_and_learn() -> None:
    settings = replace(TINY, learning_rates=(0.5,))
    curves = {
        method: study.train(study.PANELS[2], method, Key(0), DIGITS, settings)[0]["test_accuracy"]
        for method in study.METHODS
    }
    assert len({curve[0] for curve in curves.values()}) == 1
    # Five rounds of IID clients: far above a guess (.1) for every method.
    assert all(curve[-1] > 0.3 for curve in curves.values())


def test_experiment_is_json_ready_complete_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(study.QUICK, rounds=2, evaluate_every=1, window=1, local_epochs=1)
    monkeypatch.setattr(study, "QUICK", small)
    monkeypatch.setattr(study, "PANELS", study.PANELS[:3])
    shares: list[float] = []
    record = study.experiment(1, True, shares.append)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert record == study.experiment(1, True, lambda share: None)
    grid = len(small.learning_rates) * small.seeds
    assert len(record["series"]) == (3 * 3 + 1) * grid
    chosen = {(one["panel"], one["algorithm"], one["learning_rate"]) for one in record["series"] if one["chosen"]}
    assert len(chosen) == 3 * 3 + 1
    for one in record["series"]:
        assert one["rounds"] == [0, 1, 2]
        assert len(one["test_accuracy"]) == len(one["validation_accuracy"]) == 3


def test_the_committed_digits_record_is_what_the_code_gives() -> None:
    """The first rounds of one cell at two rates at which rounding does not grow; the largest ones are chaotic."""
    record = sources.load(sources.COMMITTED)["nonlinear"]
    settings = study.Settings()
    parameters = study.parameters(record["seed"], False, DIGITS, study.PANELS, settings)
    assert json.loads(json.dumps(parameters)) == record["parameters"]
    panel, short = study.PANELS[1], replace(settings, rounds=5, learning_rates=(0.05, 0.2))
    for run in study.train(panel, "rolora", Key(record["seed"]), DIGITS, short):
        (found,) = [
            one["test_accuracy"][:2]
            for one in record["series"]
            if all(one[name] == run[name] for name in ("panel", "algorithm", "learning_rate", "seed"))
        ]
        np.testing.assert_allclose(run["test_accuracy"], found, atol=0.02)


def test_the_learning_rate_is_chosen_on_validation_and_not_on_test() -> None:
    settings = replace(TINY, learning_rates=(0.1, 0.2))
    curves = {
        "validation": np.array([[[0.0], [0.0]], [[0.9], [0.1]]]),
        "test": np.array([[[0.0], [0.0]], [[0.1], [0.9]]]),
    }
    series = study._series(study.PANELS[0], "rolora", settings, [0, 5], curves)
    assert [one["learning_rate"] for one in series if one["chosen"]] == [0.1]


def test_the_grid_is_swept_short_and_the_chosen_rate_trained_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rounds in {"SWEEP_ROUNDS": 2, "CONTROL_SWEEP_ROUNDS": 1, "CONTROL_ROUNDS": 2}.items():
        monkeypatch.setattr(study, name, rounds)
    found = images.find(str(folder), "float32")
    settings = replace(study.QUICK_FULL_SIZE, rounds=4)
    for panel, swept, whole in ((study.PANELS[1], 2, 4), (study.PANELS[2], 1, 2)):
        series = study.sweep_then_train(panel, "rolora", Key(0), found, settings)
        sweep = [run for run in series if run["stage"] == "sweep"]
        final = [run for run in series if run["stage"] == "final"]
        assert [(run["learning_rate"], run["seed"], run["rounds"][-1]) for run in sweep] == [
            (0.1, 0, swept),
            (0.5, 0, swept),
        ]
        (chosen,) = [run for run in sweep if run["chosen"]]
        assert [(run["learning_rate"], run["seed"], run["rounds"][-1]) for run in final] == [
            (chosen["learning_rate"], 0, whole), (chosen["learning_rate"], 1, whole),
        ]  # fmt: skip
        assert final[0]["test_accuracy"][: swept + 1] == chosen["test_accuracy"], "the same run, continued"


def test_the_command_writes_a_record_of_the_folder(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    result = CliRunner().invoke(
        cli.app, ["simulate", "nonlinear", "--quick", "--images", str(folder), "--json", str(file)]
    )
    assert result.exit_code == 0, result.output
    record = json.loads(file.read_text())
    assert record["experiment"] == "nonlinear_mnist"
    assert record["command"] == "python -m theory simulate nonlinear --seed 0 --quick --images DIR"
    assert str(tmp_path) not in file.read_text()
    parameters = record["parameters"]
    assert parameters["dtype"] == "float32" and parameters["images_sha256"] == images.find(str(folder)).digest
    assert parameters["clip"] == 1.0 and "not zero" in parameters["initialisation"]
    assert [panel["name"] for panel in parameters["panels"]] == [panel.name for panel in study.PANELS[:3]]
    assert len(record["series"]) == 10 * (2 * 1 + 2)


def test_too_few_images_for_a_batch_are_refused(folder: Path) -> None:
    settings = replace(study.QUICK_FULL_SIZE, batch_size=64)
    with pytest.raises(InputError, match=r"holds 5 for training, expected at least a batch of 64"):
        study.train(study.PANELS[1], "rolora", Key(0), images.find(str(folder)), settings)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["simulate", "nonlinear", "--images", str(tmp_path / "none")])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "expected digits, hub, hub:OWNER/NAME, or a folder" in result.stderr
