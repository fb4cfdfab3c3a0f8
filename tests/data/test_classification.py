"""Labelled text: no held-out text is in training, and each way a source can be wrong has its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from rolora.config import DataConfig
from rolora.data import load
from rolora.data.splits import normalised
from rolora.errors import InputError

SIZES = {"validation_examples": 2, "test_examples": 3}


def rows(path, items):
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in items))
    return path


def many(count=12):
    return [(f"text number {i}", i % 2) for i in range(count)]


def config(path, **changes):
    return DataConfig(name=str(path), **(SIZES | changes))


def test_the_packaged_sentences():
    data = load(DataConfig(name="rotten-tomatoes", validation_examples=500, test_examples=1000))
    assert (len(data.test), len(data.validation)) == (1000, 500)
    assert len(data.train) + data.duplicates_dropped == 8530 - 1500
    assert data.label_names == ("0", "1")
    parts = [{normalised(texts) for texts in split.texts} for split in (data.train, data.validation, data.test)]
    assert len(parts[0]) == len(data.train)
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert 0.5 <= data.describe()["majority_rate"] < 0.55


def test_held_out_text_depends_on_its_own_seed(tmp_path):
    path = rows(tmp_path / "rows.jsonl", many(40))
    one, same, other = (load(config(path, split_seed=seed)) for seed in (0, 0, 1))
    assert one.test.texts == same.test.texts != other.test.texts


def test_texts_equal_up_to_case_and_punctuation_count_once(tmp_path):
    path = rows(tmp_path / "rows.jsonl", [*many(), ("Text, number 3 !", 0), ("TEXT NUMBER 3", 1)])
    data = load(config(path))
    assert data.duplicates_dropped == 2
    assert len(data.train) + len(data.validation) + len(data.test) == 12


def test_training_rows_that_stand_in_the_test_file_are_dropped(tmp_path):
    rows(tmp_path / "train.jsonl", many())
    rows(tmp_path / "test.jsonl", [("Text number 0.", 0), ("something else", 1)])
    data = load(config(tmp_path))
    assert data.duplicates_dropped == 1
    assert ("text number 0",) not in data.train.texts + data.validation.texts
    assert len(data.test) == 2


def test_a_development_file_alone_is_the_test_set_as_in_the_papers(tmp_path):
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": text, "label": label}) + "\n" for text, label in many())
    rows(tmp_path / "dev.jsonl", [("held out", 1)])
    data = load(config(tmp_path))
    assert data.test.texts == (("held out",),)
    assert len(data.validation) == 2


def test_pairs_and_named_labels(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,kind\n" + "".join(f"one {i},two {i},{'yes' if i % 2 else 'no'}\n" for i in range(10)))
    data = load(config(path, text_columns=("a", "b"), label_column="kind"))
    assert data.label_names == ("no", "yes")
    assert all(len(texts) == 2 for texts in data.train.texts)


def test_train_examples_limits_training_text_alone(tmp_path):
    path = rows(tmp_path / "rows.jsonl", many(40))
    data = load(config(path, train_examples=5))
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 2, 3)


@pytest.mark.parametrize(
    ("items", "changes", "words"),
    [
        ([*many(), ("odd one", 7)], {"num_labels": 2}, "line 13, column 'label': label 7, expected 0 to 1"),
        ([*many(), ("odd one", -1)], {}, "line 13, column 'label': label -1, expected 0 to 1"),
        ([*many(), (None, 1)], {}, "line 13, column 'text': the text is empty, expected one in every row"),
        (many(), {"label_column": "sentiment"}, "no column 'sentiment', expected one of 'text', 'label'"),
        (many(), {"text_columns": ("premise",)}, "data.text_columns: .*no column 'premise'"),
        (many(4), {}, "data.validation_examples: got 2|data.test_examples: got 3"),
        (many(), {"train_examples": 99}, "data.train_examples: got 99, expected at most 7"),
        ([(f"t {i}", "ab"[i % 2]) for i in range(9)], {"num_labels": 3}, "data.num_labels: got 3, expected 2"),
    ],
)
def test_each_fault_has_one_line(tmp_path, items, changes, words):
    path = rows(tmp_path / "rows.jsonl", items)
    if len(items) == 4:
        changes = {"test_examples": 3, "validation_examples": 2}
    with pytest.raises(InputError, match=words) as fault:
        load(config(path, **changes))
    assert "\n" not in str(fault.value)


def test_a_label_of_the_test_file_that_training_does_not_know(tmp_path):
    rows(tmp_path / "train.jsonl", many())
    rows(tmp_path / "test.jsonl", [("held out", 5)])
    with pytest.raises(
        InputError, match=r"test.jsonl, line 1, column 'label': label 5, expected 0 to 1, the labels of the"
    ):
        load(config(tmp_path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "there is no such file or folder"),
        ("nowhere.csv", "there is no such file or folder"),
        ("nowhere", "there is no such file or folder"),
        ("glue/nothing", "expected glue/ and one of cola, sst2"),
        ("owner/nothing", "a data set that the hub serves here"),
    ],
)
def test_a_source_that_is_not_there(name, words):
    with pytest.raises(InputError, match=words) as fault:
        load(DataConfig(name=name, **SIZES))
    assert "\n" not in str(fault.value)


def test_a_folder_without_training_rows(tmp_path):
    with pytest.raises(InputError, match=r"expected a file train\.csv"):
        load(config(tmp_path))
    rows(tmp_path / "train.jsonl", many())
    rows(tmp_path / "train.csv", [])
    with pytest.raises(InputError, match=r"train.csv and train.jsonl, expected one train file"):
        load(config(tmp_path))


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{not json")
    with pytest.raises(InputError, match=r"rows\.jsonl, line 1: expected a JSON object; Expecting property name"):
        load(config(path))


def test_hub_code_reads_a_local_repository(tmp_path, monkeypatch):
    """The hub path with the real library; the loader is pointed at a folder, since no test may use a network."""
    datasets = pytest.importorskip("datasets")
    rows(tmp_path / "train.jsonl", many(30))
    rows(tmp_path / "validation.jsonl", [("held out", 1), ("held out too", 0)])
    real = datasets.load_dataset

    def local(repository, configuration):
        assert (repository, configuration) == ("nyu-mll/glue", "sst2")
        files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "validation")}
        loaded = real("json", data_files=files, cache_dir=str(tmp_path / "cache"))
        return loaded.rename_column("text", "sentence")

    monkeypatch.setattr(datasets, "load_dataset", local)
    data = load(DataConfig(name="glue/sst2", **SIZES))
    assert data.name == "glue/sst2"
    assert len(data.test) == 2
    assert len(data.validation) == 2


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "rte"


@pytest.mark.skipif(not SHARED.exists(), reason="real GLUE files are not beside this checkout")
def test_real_pairs_from_files():
    columns = ("sentence1", "sentence2")
    data = load(DataConfig(name=str(SHARED), text_columns=columns, validation_examples=25, test_examples=1))
    assert len(data.label_names) == 2
    assert len(data.test) > 270
    assert np.bincount(data.test.labels).min() > 100
