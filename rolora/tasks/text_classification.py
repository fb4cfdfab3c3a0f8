"""Labelled sentences or pairs, with text held out from all clients; the labels are classes, or numbers to be predicted."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rolora.config import DataConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.tasks import labels, sources
from rolora.tasks.benchmarks import BENCHMARKS, name_of
from rolora.tasks.glue import Benchmark
from rolora.tasks.rows import Rows, choose

__all__ = ["Split", "TextData", "load"]


@dataclass(frozen=True)
class Split:
    """Texts (one string an example, or two) and their labels, (n,): integers from 0, or float64 for regression."""

    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """Training text to be divided among clients, and validation and test text that no client sees.

    Attributes:
        label_names: the classes in the order of their numbers; empty for regression.
        task: "classification" or "regression".
        metrics: what the model is measured by (``rolora.metrics``); the first is the primary one.
        remarks: what a record says beside the rest, where there is something to say.
    """

    name: str
    source: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    duplicates_dropped: int
    task: str = "classification"
    metrics: tuple[str, ...] = ("accuracy",)
    remarks: dict[str, object] = field(default_factory=dict)

    @property
    def num_outputs(self) -> int:
        """Of a model's head: one for each class, or one."""
        return len(self.label_names) or 1

    def describe(self) -> dict[str, object]:
        """What a record says of the data: the test set's larger class, or the mean and deviation of its numbers."""
        return {
            "name": self.name,
            "source": self.source,
            "label_names": list(self.label_names),
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "duplicates_dropped": self.duplicates_dropped,
            **self._of_a_guesser(),
            **self.remarks,
        }

    def _of_a_guesser(self) -> dict[str, object]:
        """What the best constant prediction of the test labels is, and how good."""
        if self.task == "regression":
            return {"label_mean": float(self.test.labels.mean()), "label_deviation": float(self.test.labels.std())}
        counts = np.bincount(self.test.labels, minlength=len(self.label_names))
        return {"majority_rate": float(counts.max() / counts.sum())}

    def describe_clients(self, clients: Sequence[np.ndarray]) -> dict[str, object]:
        """What a record says of the clients' training text: sizes, and counts of labels or the mean of their numbers."""
        sizes = {"client_sizes": [len(indices) for indices in clients]}
        held = [self.train.labels[indices] for indices in clients]
        if self.task == "regression":
            return sizes | {"client_label_means": [float(part.mean()) for part in held]}
        counts = [np.bincount(part, minlength=len(self.label_names)).tolist() for part in held]
        return sizes | {"client_label_counts": counts}


def normalised(texts: tuple[str, ...]) -> str:
    """What makes two examples the same text: letters (with their marks) and digits alone, case folded.

    A text without any, such as ":)", is itself.

    Example:
        >>> normalised(("A  film, he said!",)) == normalised(("a film he said",))
        True
        >>> normalised((":)",)) == normalised((":(",))
        False
    """
    return "\x1f".join(_words(text.casefold()) for text in texts)


def _words(text: str) -> str:
    pattern = _WORDS if text.isascii() else _marked_words()
    words = pattern.findall(unicodedata.normalize("NFC", text))
    return " ".join(words) or " ".join(text.split())


_WORDS = re.compile(r"\w+")


@functools.cache
def _marked_words() -> re.Pattern[str]:
    r"""``\w+`` with the combining marks, which it leaves out: without them different words of many scripts are the same."""
    marks = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char)[0] == "M")
    return re.compile(rf"[\w{marks}]+")


def load(config: DataConfig) -> TextData:
    """Read the source, drop duplicates, and hold out what it does not hold out itself.

    Texts that are equal once case, punctuation and spacing are taken away count as one: the first is kept, so no
    training text stands in the validation or test text again. Where the source has its own validation or test rows,
    training rows that equal one of them are dropped. A source with one of the two has a test set; a benchmark's is whole.

    Raises:
        InputError: a missing source or column, an empty text, a label that is missing or out of range, too few rows.
    """
    benchmark_name = name_of(config)
    benchmark = BENCHMARKS[benchmark_name] if benchmark_name else None
    tables = sources.find(config.name, benchmark)
    rows = {split: choose(tables, split, config, benchmark) for split in tables.splits}
    names, numbers = _numbered(rows, config, benchmark)
    own_test = next((split for split in ("test", "validation") if split in rows), "train")
    own_validation = "validation" if own_test == "test" and "validation" in rows else None
    taken_from = {"test": own_test, "validation": own_validation, "train": "train"}
    pools, dropped = _distinct(rows, numbers, taken_from, whole_test=benchmark is not None)
    train, validation, test = _held_out(pools, config)
    metrics = labels.metric_names(config, benchmark, len(names))
    published = {} if benchmark_name is None else {"benchmark": benchmark_name, "test_from": own_test}
    kind = np.float64 if config.task == "regression" else np.int64
    return TextData(
        name=tables.name,
        source=tables.source,
        label_names=tuple(str(name) for name in names),
        train=_split(train, kind),
        validation=_split(validation, kind),
        test=_split(test, kind),
        duplicates_dropped=dropped,
        task=config.task,
        metrics=metrics,
        remarks=published | _remarks(rows, config, metrics),
    )


def _numbered(
    rows: dict[str, Rows], config: DataConfig, benchmark: Benchmark | None
) -> tuple[list[int] | list[str], dict[str, Sequence[int | float]]]:
    """The classes (none for regression), and each split's labels as numbers."""
    if config.task == "regression":
        if config.num_labels is not None:
            raise InputError(f'data.num_labels: got {config.num_labels}, expected none with data.task = "regression"')
        return [], {split: labels.measured(part) for split, part in rows.items()}
    names = labels.class_names(rows["train"], config, benchmark)
    whose = "benchmark" if benchmark is not None else "config" if config.num_labels is not None else "train"
    return names, {split: labels.class_numbers(part, names, whose) for split, part in rows.items()}


def _remarks(rows: dict[str, Rows], config: DataConfig, metrics: tuple[str, ...]) -> dict[str, object]:
    """What a record says where it is not as usual: rows that were cut short, another task, other metrics."""
    cut = sum(part.cut for part in rows.values())
    usual = (config.task, metrics) == ("classification", ("accuracy",))
    return ({"cut_rows_dropped": cut} if cut else {}) | (
        {} if usual else {"task": config.task, "metrics": list(metrics)}
    )


Pool = list[tuple[tuple[str, ...], int | float]]


def _distinct(
    rows: dict[str, Rows],
    numbers: dict[str, Sequence[int | float]],
    taken_from: dict[str, str | None],
    whole_test: bool,
) -> tuple[dict[str, Pool], int]:
    """Each part's examples without texts that stand in an earlier part or further up, and how many were dropped.

    With ``whole_test`` the source's own test rows all count, those too that equal one another: a benchmark's score is the
    score of all of them.
    """
    seen: set[str] = set()
    pools: dict[str, Pool] = {}
    dropped = 0
    for part, split in taken_from.items():
        pools[part] = []
        if split is None or (split == "train" and part != "train"):
            continue
        for texts, number in zip(rows[split].texts, numbers[split], strict=True):
            key = normalised(texts)
            kept = key not in seen or (whole_test and part == "test")
            dropped += not kept
            if kept:
                seen.add(key)
                pools[part].append((texts, number))
    return pools, dropped


def _held_out(pools: dict[str, Pool], config: DataConfig) -> tuple[Pool, Pool, Pool]:
    """Training, validation and test examples: what the source does not hold out itself is drawn from its training rows."""
    train = pools["train"]
    key = Key(config.split_seed).fold("data", "split")
    for split, size in (("test", config.test_examples), ("validation", config.validation_examples)):
        if not pools[split]:
            order = key.fold(split).generator().permutation(len(train))
            if size >= len(train):
                left = f" that the {config.test_examples} test texts leave" if len(train) < len(pools["train"]) else ""
                raise InputError(
                    f"data.{split}_examples: got {size}, expected fewer than the {len(train)} distinct training texts{left}"
                )
            pools[split] = [train[index] for index in np.sort(order[:size])]
            train = [train[index] for index in np.sort(order[size:])]
    if config.train_examples is not None:
        if config.train_examples > len(train):
            raise InputError(f"data.train_examples: got {config.train_examples}, expected at most {len(train)}")
        order = key.fold("train").generator().permutation(len(train))
        train = [train[index] for index in np.sort(order[: config.train_examples])]
    return train, pools["validation"], pools["test"]


def _split(rows: Pool, kind: type[np.generic]) -> Split:
    return Split(tuple(texts for texts, _ in rows), np.array([label for _, label in rows], dtype=kind))
