"""Files of the user's own: each way in which one can be wrong has its line, which names file, line and column."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from rolora.config import DataConfig
from rolora.data import load
from rolora.data.files import from_file
from rolora.errors import InputError

TEN = "".join(f"text number {i},{i % 2}\n" for i in range(10))


def config(path, **changes):
    return DataConfig(name=str(path), **({"validation_examples": 2, "test_examples": 3} | changes))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(labels, text="text number {}"):
    return "".join(json.dumps({"text": text.format(i), "label": label}) + "\n" for i, label in enumerate(labels))


def the_line(path, **changes):
    """The one line that the fault has, without the path's folder."""
    with pytest.raises(InputError) as fault:
        load(config(path, **changes))
    assert "\n" not in str(fault.value)
    folder = path if path.is_dir() and not path.suffix else path.parent
    return str(fault.value).replace(f"{folder}/", "").replace(str(folder), "FOLDER")


NOT_UTF8 = b"text,label\ngood,1\n" + "caf\xe9,0\n".encode("latin-1")
ROWS = {
    "empty.csv": ("", "data.name: empty.csv: the file is empty, expected CSV rows"),
    "blank.jsonl": ("\n \n", "data.name: blank.jsonl: the file is empty, expected JSONL rows"),
    "header.csv": ("text,label\n", "data.name: header.csv: a header and no rows, expected rows below it"),
    "misspelt.csv": (
        "texts,label\n" + TEN,
        "data.text_columns: misspelt.csv: no column 'text', expected one of 'texts', 'label'; did you mean 'texts'?",
    ),
    "unlabelled.csv": (
        "text,target\n" + TEN,
        "data.label_column: unlabelled.csv: no column 'label', expected one of 'text', 'target'",
    ),
    "semicolons.csv": (
        "text;label\ngood;1\n",
        "data.text_columns: semicolons.csv: no column 'text', expected one of 'text;label'; is it separated by ';'? A CSV "
        "has commas, a TSV has tabs",
    ),
    "twice.csv": ("text,label,text\na,1,b\n", "data.name: twice.csv, line 1: column 'text' stands twice, expected different names"),
    "comma.csv": (
        "text,label\n" + TEN + "well, yes,1\n",
        "data.name: comma.csv, line 12: 3 values, expected 2, one for each of text, label; a text with a comma in it stands in "
        "double quotes",
    ),
    "short.tsv": ("text\tlabel\ngood\t1\nbad\n", "data.name: short.tsv, line 3: 1 values, expected 2, one for each of text, label"),
    "open.csv": (
        'text,label\ngood,1\n"bad,0\nworse,0\n',
        "data.name: open.csv, line 3: expected CSV; a double quote is opened and not closed; a double quote within a quoted "
        "text is written twice",
    ),
    "stray.csv": (
        'text,label\n"good"ness,1\n',
        "data.name: stray.csv, line 2: expected CSV; ',' expected after '\"'; a double quote within a quoted text is written "
        "twice",
    ),
    "latin.csv": (
        NOT_UTF8,
        "data.name: latin.csv, line 3: byte 0xe9 at offset 21 is not UTF-8; if the file is Latin-1, convert it: iconv -f "
        "ISO-8859-1 -t UTF-8 latin.csv > utf8-latin.csv",
    ),
    "latin.csv.gz": (
        gzip.compress(b"\xef\xbb\xbf" + NOT_UTF8),
        "data.name: latin.csv.gz, line 3: byte 0xe9 at offset 24 is not UTF-8; if the file is Latin-1, convert it: gunzip "
        "first, then iconv -f ISO-8859-1 -t UTF-8 latin.csv > utf8-latin.csv",
    ),
    "wide.csv": (
        "text,label\n".encode("utf-16"),
        "data.name: wide.csv: is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8 wide.csv > utf8-wide.csv",
    ),
    "plain.csv.gz": (
        "text,label\n",
        "data.name: plain.csv.gz: expected gzip, as the name says; Not a gzipped file (b'te')",
    ),
    "cut.csv.gz": (
        gzip.compress(("text,label\n" + TEN).encode())[:-9],
        "data.name: cut.csv.gz: expected gzip, as the name says; Compressed file ended before the end-of-stream marker was "
        "reached",
    ),
    "zipped.csv": (
        gzip.compress(b"text,label\n"),
        "data.name: zipped.csv: is gzip, expected a name that says so: zipped.csv.gz",
    ),
    "notes.txt": (
        TEN,
        "data.name: got notes.txt, expected a file ending in .csv, .tsv, .jsonl, .json, .csv.gz, .tsv.gz, .jsonl.gz, .json.gz",
    ),
    "broken.jsonl": (
        lines([0, 1]) + '{"text": "good" "label": 1}\n',
        "data.name: broken.jsonl, line 3: expected a JSON object; Expecting ',' delimiter at column 17",
    ),
    "list.jsonl": (
        lines([0, 1]) + '["good", 1]\n',
        'data.name: list.jsonl, line 3: got ["good", 1], expected a JSON object such as {"text": "...", "label": 0}',
    ),
    "key.jsonl": (
        '{"text": "a", "text": "b", "label": 0}\n',
        "data.name: key.jsonl, line 1: expected a JSON object; key 'text' stands twice",
    ),
    "broken.json": ('[{"text": "good",\n"label": }]', "data.name: broken.json, line 2: expected JSON; Expecting value at column 10"),
    "lines.json": (
        lines([0, 1]),
        "data.name: lines.json, line 2: expected JSON; Extra data at column 1; one object a line is JSON lines: name it .jsonl",
    ),
    "columns.json": (
        '{"text": {"0": "good"}}',
        'data.name: columns.json: got {"text": {"0": "good"}}, expected a list of objects: [{"text": "...", "label": 0}, ...]',
    ),
    "item.json": (
        '[{"text": "good", "label": 1}, 7]',
        'data.name: item.json, item 2: got 7, expected an object such as {"text": "...", "label": 0}',
    ),
    "text.csv": (
        'text,label\ngood,1\n"  ",0\n',
        "data.text_columns: text.csv, line 3, column 'text': the text is empty, expected one in every row",
    ),
    "null.jsonl": (
        '{"text": "good", "label": 0}\n\n{"text": null, "label": 1}\n',
        "data.text_columns: null.jsonl, line 3, column 'text': the text is empty, expected one in every row",
    ),
    "number.jsonl": (
        lines([0]) + '{"text": 5, "label": 1}\n',
        "data.text_columns: number.jsonl, line 2, column 'text': got 5, expected a text in quotes",
    ),
    "label.csv": (
        "text,label\ngood,1\nbad,\n",
        "data.label_column: label.csv, line 3, column 'label': the label is missing, expected one in every row",
    ),
    "key_missing.jsonl": (
        lines([0, 1]) + '{"text": "good"}\n',
        "data.label_column: key_missing.jsonl, line 3, column 'label': the label is missing, expected one in every row",
    ),
    "mixed.csv": (
        "text,label\n" + TEN + "odd,yes\n",
        "data.label_column: mixed.csv, line 12, column 'label': got 'yes', but 0 in line 2, expected all names or all whole "
        "numbers",
    ),
    "mixed.jsonl": (
        lines(["yes", "no", 1, "yes"]),
        "data.label_column: mixed.jsonl, line 3, column 'label': got 1, but 'yes' in line 1, expected all names or all whole "
        "numbers",
    ),
    "decimals.csv": (
        "text,label\ngood,1\nbad,0.5\n",
        "data.label_column: decimals.csv, line 3, column 'label': got 0.5, expected a class, by whole number or name; for "
        'numbers that are measured set data.task = "regression"',
    ),
    "ids.jsonl": (
        lines([0, 1, 100_000]),
        "data.label_column: ids.jsonl, line 3, column 'label': label 100000 makes 100,001 classes from 0 on for 3 rows, "
        'expected classes; for numbers that are measured set data.task = "regression"',
    ),
    "same.csv": (
        "text,label\ngood,yes\nbad,yes\n",
        "data.label_column: same.csv, column 'label': every label is 'yes', expected at least two different ones",
    ),
    "few.csv": (
        "text,label\ngood,1\nbad,0\nGood!,1\n",
        "data.test_examples: got 3, expected fewer than the 2 distinct training texts",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_each_fault_of_a_file_has_its_line(tmp_path, name):
    content, line = ROWS[name]
    assert the_line(written(tmp_path, name, content)) == line


@pytest.mark.parametrize(
    ("labels", "changes", "line"),
    [
        (
            [0, 1, 2, 1, 0],
            {"num_labels": 2},
            "data.label_column: rows.jsonl, line 3, column 'label': label 2, expected 0 to 1, as data.num_labels says",
        ),
        (
            ["a", "b", "c", "a"],
            {"num_labels": 2},
            "data.num_labels: got 2, expected 3, the labels of rows.jsonl: a, b, c",
        ),
        (
            [1.5, "high", 2],
            {"task": "regression"},
            "data.label_column: rows.jsonl, line 2, column 'label': got 'high', expected a finite number with data.task = "
            '"regression"',
        ),
        (
            [1.5, 1e999, 2],
            {"task": "regression"},
            "data.label_column: rows.jsonl, line 2, column 'label': got inf, expected a finite number with data.task = "
            '"regression"',
        ),
        (
            [1.5, 2.5],
            {"task": "regression", "num_labels": 2},
            'data.num_labels: got 2, expected none with data.task = "regression"',
        ),
        (
            [0, 1, 0, 1, 0],
            {},
            "data.validation_examples: got 2, expected fewer than the 2 distinct training texts that the 3 test texts leave",
        ),
        (
            [0, 1],
            {"benchmark": "sst"},
            "data.benchmark: got sst, expected one of cola, sst2, mrpc, stsb, qqp, mnli, mnli-mismatched, qnli, rte, trec; did "
            "you mean sst2?",
        ),
        ([0, 1], {"benchmark": "stsb"}, 'data.task: got "classification" with stsb, expected "regression"'),
        (
            [0, 1] * 4,
            {"metrics": ["pearson"]},
            "data.metrics: got 'pearson', expected one of accuracy, f1, macro_f1, matthews_correlation with task = "
            '"classification"',
        ),
        (
            [0, 1, 2] * 4,
            {"metrics": ["f1"]},
            "data.metrics: got 'f1' with 3 labels, expected macro_f1 with other than 2",
        ),
    ],
)
def test_each_fault_of_labels_and_settings_has_its_line(tmp_path, labels, changes, line):
    assert the_line(written(tmp_path, "rows.jsonl", lines(labels)), **changes) == line


def test_a_label_of_the_test_file_that_training_does_not_have(tmp_path):
    written(tmp_path, "train.csv", "text,label\n" + "".join(f"text {i},{'no' if i % 2 else 'yes'}\n" for i in range(9)))
    written(tmp_path, "test.csv", "text,label\nheld out,no\nthis too,maybe\n")
    assert the_line(tmp_path) == (
        "data.label_column: test.csv, line 3, column 'label': label 'maybe', expected one of no, yes, the labels of the "
        "training rows"
    )


def test_folders_that_are_not_data(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    expected = "data.name: got the folder FOLDER, expected a file train.csv, train.tsv, train.jsonl or .gz of it; it "
    assert the_line(empty) == expected + "is empty"
    written(empty, "training.csv", "text,label\n" + TEN)
    assert the_line(empty) == expected + "holds training.csv"
    (empty / "train.csv").mkdir()
    assert the_line(empty) == "data.name: got train.csv, a folder; expected a file by that name"


def test_words_that_pandas_takes_for_missing_values_are_texts(tmp_path):
    words = ["NA", "null", "None", "nan", "N/A", "", "#N/A", "NULL"]
    rows = "text,label\n" + "".join(f'"{word or "empty"}",{i % 2}\n' for i, word in enumerate(words))
    data = load(config(written(tmp_path, "rows.csv", rows)))
    found = {texts[0] for split in (data.train, data.validation, data.test) for texts in split.texts}
    # "N/A" and "#N/A" are one text once punctuation is gone, "null" and "NULL" once case is.
    assert found == {"NA", "null", "None", "nan", "N/A", "empty"}
    named = "text,label\n" + "".join(f"text {i},{('None', 'NA', 'null')[i % 3]}\n" for i in range(12))
    assert load(config(written(tmp_path, "named.csv", named))).label_names == ("NA", "None", "null")


@pytest.mark.parametrize(
    "suffix", [".csv", ".tsv", ".jsonl", ".json", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".json.gz", ".CSV"]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_all_kinds_of_files_give_the_same_data(tmp_path, suffix, mark):
    rows = [(f"text number {i}, quoted or \u00e9", ("no", "yes")[i % 2]) for i in range(12)]
    kind = suffix.lower().removesuffix(".gz")
    if kind == ".csv":
        content = "text,label\r\n" + "".join(f'"{text}",{label}\r\n' for text, label in rows)
    elif kind == ".tsv":
        content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
    else:
        objects = [{"text": text, "label": label} for text, label in rows]
        content = json.dumps(objects) if kind == ".json" else "\n".join(map(json.dumps, objects))
    raw = mark + content.encode()
    data = load(config(written(tmp_path, f"rows{suffix}", gzip.compress(raw) if suffix.endswith(".gz") else raw)))
    assert data.label_names == ("no", "yes")
    parts = (data.train, data.validation, data.test)
    found = {
        texts[0]: data.label_names[label]
        for part in parts
        for texts, label in zip(part.texts, part.labels, strict=True)
    }
    assert found == dict(rows)


def test_long_texts_and_texts_of_several_lines(tmp_path):
    path = written(tmp_path, "rows.csv", f'text,label\n"two\nlines",0\n"{"word " * 40_000}",1\nlast,\n')
    table = from_file(path)
    assert table["text"].tolist()[0] == "two\nlines"
    assert len(table["text"].tolist()[1]) == 200_000
    assert (table.index.name, table.index.tolist()) == ("line", [2, 4, 5])
    assert "line 5, column 'label'" in the_line(path)


def test_a_line_separator_within_a_text_is_no_new_line(tmp_path):
    content = json.dumps({"text": "one\u2028two", "label": 0}, ensure_ascii=False) + "\n"
    assert from_file(written(tmp_path, "rows.jsonl", content))["text"].tolist() == ["one\u2028two"]


def test_labels_are_numbers_where_all_are(tmp_path):
    data = load(config(written(tmp_path, "rows.jsonl", lines(["1", "0", " 1", "2 ", "0", "1", "0", "2"]))))
    assert data.label_names == ("0", "1", "2")
    data = load(config(written(tmp_path, "flags.jsonl", lines([True, False] * 4))))
    assert data.label_names == ("0", "1")


def test_texts_without_letters_and_texts_with_marks_are_told_apart(tmp_path):
    texts = [":)", ":(", "\u0915\u093f", "\u0915\u0940", "e\u0301te", "\u00e9te", "\U0001f600", "\U0001f622"]
    rows = "".join(json.dumps({"text": text, "label": i % 2}) + "\n" for i, text in enumerate(texts))
    data = load(config(written(tmp_path, "rows.jsonl", rows)))
    assert data.duplicates_dropped == 1  # an accent is the same, joined to its letter or not


def test_numbers_to_be_predicted(tmp_path):
    path = written(tmp_path, "rows.csv", "text,score\n" + "".join(f"text {i},{i / 4}\n" for i in range(12)))
    data = load(config(path, task="regression", label_column="score"))
    assert (data.task, data.metrics, data.label_names, data.num_outputs) == (
        "regression",
        ("pearson", "spearman"),
        (),
        1,
    )
    assert data.train.labels.dtype == np.float64
    found = {texts[0]: label for texts, label in zip(data.test.texts, data.test.labels, strict=True)}
    assert all(label == int(re.sub(r"\D", "", text)) / 4 for text, label in found.items())
    said = data.describe()
    assert said["label_mean"] == pytest.approx(sum(found.values()) / 3)
    assert said["label_deviation"] == pytest.approx(float(np.std(list(found.values()))))
    assert "majority_rate" not in said and json.dumps(said, allow_nan=False)
    clients = data.describe_clients([np.array([0, 1]), np.array([2])])
    means = [float(data.train.labels[:2].mean()), float(data.train.labels[2])]
    assert clients == {"client_sizes": [2, 1], "client_label_means": means}


def test_what_a_record_says_of_classes_is_what_it_said(tmp_path):
    data = load(config(written(tmp_path, "rows.csv", "text,label\n" + TEN)))
    assert set(data.describe()) == {
        "name", "source", "label_names", "train", "validation", "test", "duplicates_dropped", "majority_rate",
    }  # fmt: skip
    assert data.describe_clients([np.arange(len(data.train))]) == {
        "client_sizes": [5],
        "client_label_counts": [np.bincount(data.train.labels).tolist()],
    }


def test_metrics_of_ones_own(tmp_path):
    data = load(config(written(tmp_path, "rows.csv", "text,label\n" + TEN), metrics=["f1", "accuracy", "f1"]))
    assert data.metrics == ("f1", "accuracy")
    assert data.describe()["metrics"] == ["f1", "accuracy"]


def test_the_name_of_a_folder_may_begin_with_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, "rows.csv", "text,label\n" + TEN)
    assert load(config(Path("~/rows.csv"))).name == "rows.csv"
