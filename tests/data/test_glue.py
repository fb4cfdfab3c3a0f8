"""GLUE and TREC by name: the same data from the hub's form, from GLUE's own files and from lines of JSON."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from rolora.config import DataConfig
from rolora.data import BENCHMARKS, NAMES, load
from rolora.data.known_tasks import outputs
from rolora.data.tasks.glue import TASKS as GLUE
from rolora.errors import InputError
from rolora.experiment.setup import prepare
from tests.conftest import changed

SIZES = {"validation_examples": 2, "test_examples": 3}

# GLUE's own files: the header of train.tsv, and a row of it for a number i and a label.
OWN = {
    "cola": (None, "gj04\t{label}\t\tsentence number {i}"),
    "sst2": ("sentence\tlabel", "sentence number {i}\t{label}"),
    "mrpc": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        "{label}\t7{i}\t8{i}\tfirst number {i}\tsecond number {i}",
    ),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "{i}\tmain-news\tMSRvid\t2012test\t{i}\tnone\tnone\tfirst number {i}\tsecond number {i}\t{label}",
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "{i}\t1{i}\t2{i}\tfirst number {i}\tsecond number {i}\t{label}",
    ),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label",
        "{i}\t1\t2\tfiction\tfirst number {i}\tsecond number {i}\tneutral\t{label}",
    ),
    "qnli": ("index\tquestion\tsentence\tlabel", "{i}\tfirst number {i}\tsecond number {i}\t{label}"),
    "rte": ("index\tsentence1\tsentence2\tlabel", "{i}\tfirst number {i}\tsecond number {i}\t{label}"),
}
OWN["mnli-mismatched"] = OWN["mnli"]
NAMED = ("mnli", "mnli-mismatched", "qnli", "rte")  # their files have the labels by name, the others by number


def own_file(path, name, start, count):
    header, row = OWN[name]
    lines = [row.format(i=i, label=own_label(name, i)) for i in range(start, start + count)]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n", encoding="utf-8")


def own_label(name, i):
    if name == "stsb":
        return f"{i % 11 / 2:.3f}"
    names = GLUE[name].label_names
    return names[i % len(names)] if name in NAMED else i % len(names)


def own_folder(folder, name):
    own_file(folder / "train.tsv", name, 0, 12)
    kinds = ("_matched", "_mismatched") if name.startswith("mnli") else ("",)
    for start, kind in zip((100, 200), kinds, strict=False):
        own_file(folder / f"dev{kind}.tsv", name, start, 5)
    (folder / "test.tsv").write_text("index\tsentence\n0\tof a hidden label\n")
    return folder


def task_config(name, path, **changes):
    return DataConfig(name=str(path), benchmark=name, task=GLUE[name].task, **(SIZES | changes))


@pytest.mark.parametrize("name", GLUE)
def test_glues_own_files(tmp_path, name):
    data = load(task_config(name, own_folder(tmp_path, name)))
    benchmark = GLUE[name]
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 2, 5)
    assert (data.task, data.metrics) == (benchmark.task, benchmark.metrics)
    assert data.label_names == (benchmark.label_names or ())
    start = 200 if name == "mnli-mismatched" else 100
    pair = len(benchmark.forms[0].text_columns) == 2
    for i, (texts, label) in enumerate(zip(data.test.texts, data.test.labels, strict=True), start=start):
        assert texts == ((f"first number {i}", f"second number {i}") if pair else (f"sentence number {i}",))
        assert label == (i % 11 / 2 if name == "stsb" else i % len(data.label_names))
    said = data.describe()
    assert (said["benchmark"], said["test_from"]) == (name, "validation")
    assert json.dumps(said, allow_nan=False)


@pytest.mark.parametrize("name", GLUE)
def test_the_hubs_form_gives_the_data_of_glues_own_files(tmp_path, monkeypatch, name):
    """The hub path with the real library; the loader is pointed at a folder, since no test may use a network."""
    datasets = pytest.importorskip("datasets")
    benchmark = GLUE[name]
    for split, start, count in (("train", 0, 12), ("matched", 100, 5), ("mismatched", 200, 5), ("test", 300, 3)):
        rows = []
        for i in range(start, start + count):
            words = ("first", "second") if len(benchmark.forms[0].text_columns) == 2 else ("sentence",)
            row = dict(zip(benchmark.forms[0].text_columns, (f"{word} number {i}" for word in words), strict=True))
            label = i % 11 / 2 if name == "stsb" else i % len(benchmark.label_names)
            rows.append(row | {"label": -1 if split == "test" else label, "idx": i})
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    real = datasets.load_dataset

    def local(repository, configuration):
        assert (repository, configuration) == ("nyu-mll/glue", "mnli" if name.startswith("mnli") else name)
        files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "matched", "mismatched", "test")}
        loaded = real("json", data_files=files, cache_dir=str(tmp_path / "cache"))
        if name.startswith("mnli"):
            loaded["validation_matched"] = loaded.pop("matched")
            loaded["validation_mismatched"] = loaded.pop("mismatched")
        else:
            loaded["validation"] = loaded.pop("matched")
            del loaded["mismatched"]
        return loaded

    monkeypatch.setattr(datasets, "load_dataset", local)
    data = load(DataConfig(name=f"glue/{name}", task=benchmark.task, **SIZES))
    own = tmp_path / "own"
    own.mkdir()
    expected = load(task_config(name, own_folder(own, name)))
    for part in ("train", "validation", "test"):
        assert getattr(data, part).texts == getattr(expected, part).texts
        np.testing.assert_array_equal(getattr(data, part).labels, getattr(expected, part).labels)
    for what in ("label_names", "task", "metrics"):
        assert getattr(data, what) == getattr(expected, what)
    assert data.describe()["benchmark"] == name


def test_metrics_are_those_that_glue_publishes():
    """Wang et al. 2019, Table 1; which of two is first is a choice, and decides what "best" means in a sweep."""
    of = {"cola": ("matthews_correlation",), "stsb": ("pearson", "spearman")} | dict.fromkeys(
        ("mrpc", "qqp"), ("f1", "accuracy")
    )
    assert {name: benchmark.metrics for name, benchmark in GLUE.items()} == dict.fromkeys(GLUE, ("accuracy",)) | of
    assert [name for name, benchmark in GLUE.items() if benchmark.task == "regression"] == ["stsb"]


def test_a_test_file_with_labels_is_the_test_set(tmp_path):
    own_folder(tmp_path, "sst2")
    own_file(tmp_path / "test.tsv", "sst2", 300, 4)
    data = load(task_config("sst2", tmp_path))
    assert (len(data.test), len(data.validation)) == (4, 5)
    assert data.describe()["test_from"] == "test"


def test_a_file_alone_is_divided_and_a_record_says_so(tmp_path):
    own_file(tmp_path / "dev.tsv", "rte", 0, 12)
    data = load(task_config("rte", tmp_path / "dev.tsv"))
    assert data.describe()["test_from"] == "train"


def test_mismatched_needs_its_own_file(tmp_path):
    own_folder(tmp_path, "mnli")
    (tmp_path / "dev_mismatched.tsv").unlink()
    with pytest.raises(InputError, match="has no validation_mismatched or dev_mismatched, expected the split"):
        load(task_config("mnli-mismatched", tmp_path))
    assert len(load(task_config("mnli", tmp_path)).test) == 5
    shutil.copy(tmp_path / "dev_matched.tsv", tmp_path / "dev.tsv")
    with pytest.raises(InputError, match=r"has dev_matched\.tsv and dev\.tsv, expected one validation file"):
        load(task_config("mnli", tmp_path))


def test_all_test_rows_of_a_benchmark_count(tmp_path):
    own_folder(tmp_path, "sst2")
    with (tmp_path / "dev.tsv").open("a") as file:
        file.write("Sentence number 100 !\t0\nsentence number 3\t1\n")
    data = load(task_config("sst2", tmp_path))
    assert len(data.test) == 7
    assert data.duplicates_dropped == 1  # of the training rows, the one that stands in the test set
    assert ("sentence number 3",) not in data.train.texts + data.validation.texts
    assert len(load(DataConfig(name=str(tmp_path / "dev.tsv"), text_columns=["sentence"], **SIZES)).train) == 6 - 5


def test_rows_of_qqp_that_end_early_are_counted_and_elsewhere_an_error(tmp_path):
    for name in ("qqp", "rte"):
        folder = tmp_path / name
        folder.mkdir()
        own_folder(folder, name)
        with (folder / "train.tsv").open("a") as file:
            file.write("99\tcut\n98\t1\t2\tfirst\t\t1\n" if name == "qqp" else "99\tcut\n")
    data = load(task_config("qqp", tmp_path / "qqp"))
    assert len(data.train) == 10
    assert data.describe()["cut_rows_dropped"] == 2
    assert data.describe()["metrics"] == ["f1", "accuracy"]
    with pytest.raises(InputError, match=r"train\.tsv, line 14: 2 values, expected 4"):
        load(task_config("rte", tmp_path / "rte"))


def test_a_label_that_the_benchmark_does_not_have(tmp_path):
    own_folder(tmp_path, "mnli")
    path = tmp_path / "train.tsv"
    path.write_text(path.read_text().replace("contradiction", "contradictory", 1))
    expected = (
        r"line 4, column 'gold_label': label 'contradictory', expected one of entailment, neutral, contradiction, the b"
    )
    with pytest.raises(InputError, match=expected):
        load(task_config("mnli", tmp_path))
    with pytest.raises(InputError, match=r"data\.num_labels: got 2, expected 3, the benchmark's labels"):
        load(task_config("mnli", tmp_path, num_labels=2))


def test_the_columns_may_be_ones_own(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("said,verdict\n" + "".join(f"text {i},{'positive' if i % 2 else 'negative'}\n" for i in range(12)))
    data = load(task_config("sst2", path, text_columns=["said"], label_column="verdict"))
    assert data.label_names == ("negative", "positive")
    with pytest.raises(
        InputError, match=r"data\.text_columns: .*no column 'sentence', expected one of 'said', 'verdict'"
    ):
        load(task_config("sst2", path))


def test_trec_in_the_hubs_form(tmp_path):
    path = tmp_path / "rows.csv"
    rows = "".join(f"question {i},{i % 6},{i}\n" for i in range(18))
    path.write_text("text,coarse_label,fine_label\n" + rows)
    data = load(DataConfig(name=str(path), benchmark="trec", **SIZES))
    assert data.label_names[1:3] == ("ENTY", "DESC")  # in the hub's order, which is not the alphabet's
    assert all(
        label == int(texts[0].split()[1]) % 6 for texts, label in zip(data.test.texts, data.test.labels, strict=True)
    )


def test_a_records_config_means_the_same(tmp_path):
    """A resolved config has the default label column too: that must not win over the benchmark's."""
    config = task_config("stsb", own_folder(tmp_path, "stsb"))
    again = DataConfig(**config.model_dump(mode="json"))
    assert load(again).test.labels.tolist() == load(config).test.labels.tolist()


def test_outputs_are_known_from_the_config_alone():
    found = {name: outputs(DataConfig(name=name, task=GLUE[name[5:]].task, **SIZES)) for name in NAMES}
    assert {name for name, count in found.items() if count == 3} == {"glue/mnli", "glue/mnli-mismatched"}
    assert found["glue/stsb"] == 1
    assert outputs(DataConfig(name="rows.csv", task="regression", **SIZES)) == 1
    assert outputs(DataConfig(name="rows.csv", benchmark="trec", **SIZES)) == 6
    with pytest.raises(InputError, match=r'data\.task: got "classification" with glue/stsb, expected "regression"'):
        outputs(DataConfig(name="glue/stsb", **SIZES))
    with pytest.raises(InputError, match=r"expected glue/ and one of cola, .*; did you mean glue/sst2\?"):
        outputs(DataConfig(name="glue/sst", **SIZES))


def test_numbers_are_divided_iid_and_get_one_output(tmp_path, table):
    path = own_folder(tmp_path, "stsb")
    config = changed(
        table, data__name=str(path), data__benchmark="stsb", data__task="regression", data__validation_examples=2
    )
    setup = prepare(config)
    assert setup.backbone.model.config.num_labels == 1
    assert setup.train.labels.dtype == np.float64
    assert sorted(np.concatenate(setup.clients)) == list(range(len(setup.data.train)))
    for partition in (
        {"partition": "dirichlet", "dirichlet_alpha": 1.0},
        {"partition": "by-label", "labels_per_client": 1},
    ):
        changes = {f"federation__{name}": value for name, value in partition.items()}
        with pytest.raises(InputError, match=r'expected "iid" or "by-column" with data.task = "regression"') as caught:
            changed(table, data__task="regression", **changes)
        assert (caught.value.key, caught.value.got) == ("federation.partition", partition["partition"])


def test_list_names_them(capsys):
    from rolora.cli.inspect import list_

    list_()
    printed = " ".join(capsys.readouterr().out.split())
    assert ", ".join(NAMES) in printed
    assert ", ".join(BENCHMARKS) in printed


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = pytest.mark.skipif(not SHARED.exists(), reason="real GLUE files are not beside this checkout")


@REAL
@pytest.mark.parametrize(
    ("folder", "name", "train", "test", "majority"),
    [
        # rows as published; the majority-class baselines are those of the literature (audit-majority-class)
        ("sst2", "sst2", 67_349, 872, 0.5092),
        ("rte", "rte", 2_490, 277, 0.5271),
        ("trec_qc", "trec", 5_452, 500, 0.276),
    ],
)
def test_real_folders(folder, name, train, test, majority):
    started = time.process_time()
    data = load(DataConfig(name=str(SHARED / folder), benchmark=name, **SIZES))
    assert time.process_time() - started < 30  # a second without the checks of types; a search in lists takes minutes
    assert len(data.train) + len(data.validation) + data.duplicates_dropped == train
    assert len(data.test) == test
    assert data.describe()["majority_rate"] == pytest.approx(majority, abs=5e-5)
    assert data.label_names == BENCHMARKS[name].label_names


@REAL
def test_real_development_files_alone():
    for name, rows, counts in (("qnli", 5_463, (2_702, 2_761)), ("mnli", 9_815, (3_479, 3_123, 3_213))):
        data = load(DataConfig(name=str(SHARED / name / "dev.jsonl.gz"), benchmark=name, **SIZES))
        assert len(data.train) + 5 + data.duplicates_dropped == rows
        parts = np.concatenate([data.train.labels, data.validation.labels, data.test.labels])
        assert np.abs(np.bincount(parts) - counts).max() <= data.duplicates_dropped
