"""Labelled sentences or pairs, with text held out from all clients; the labels are classes, or numbers to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rolora.config import DataConfig
from rolora.data import labels, sources
from rolora.data.known_tasks import BENCHMARKS, name_of
from rolora.data.rows import Rows, choose
from rolora.data.splits import Pool, distinct, hold_out
from rolora.data.tasks.base import KnownTask
from rolora.errors import InputError

__all__ = ["Split", "TextData", "load"]


@dataclass(frozen=True)
class Split:
    """Texts (one string an example, or more) and their labels, (n,): integers from 0, or float64 for regression.

    ``owners`` says whose each example is, where the data say so.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray
    owners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TextData:
    """Training text to be divided among clients, and validation and test text that no client sees.

    Attributes:
        label_names: the classes in the order of their numbers; empty for regression. For generation they are what
            partitions by label go by.
        task: "classification", "regression" or "generation".
        metrics: what the model is measured by (``rolora.data.metrics``); the first is the primary one.
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
        """Number of outputs of a model's head: one for each class, or one for a number."""
        return len(self.label_names) or 1

    def describe(self) -> dict[str, object]:
        """Return a record's entries on the labels: the majority-class baseline, or mean and deviation of numbers."""
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
        """Return the best constant prediction of the test labels, and its score."""
        if self.task == "regression":
            return {"label_mean": float(self.test.labels.mean()), "label_deviation": float(self.test.labels.std())}
        if self.task == "generation":
            return {}
        counts = np.bincount(self.test.labels, minlength=len(self.label_names))
        return {"majority_rate": float(counts.max() / counts.sum())}

    def describe_clients(self, clients: Sequence[np.ndarray]) -> dict[str, object]:
        """Return a record's entries on the clients: sizes, and counts of labels or the mean of their numbers."""
        sizes = {"client_sizes": [len(indices) for indices in clients]}
        held = [self.train.labels[indices] for indices in clients]
        if self.task == "regression":
            return sizes | {"client_label_means": [float(part.mean()) for part in held]}
        counts = [np.bincount(part, minlength=len(self.label_names)).tolist() for part in held]
        return sizes | {"client_label_counts": counts}


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
    examples = {split: list(zip(part.texts, numbers[split], strict=True)) for split, part in rows.items()}
    pools, dropped, own_test = distinct(examples, whole_test=benchmark is not None)
    train, validation, test = hold_out(pools, config)
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
    rows: dict[str, Rows], config: DataConfig, benchmark: KnownTask | None
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
    """Return a record's entries for cut rows, another task than classification, other metrics than accuracy."""
    cut = sum(part.cut for part in rows.values())
    usual = (config.task, metrics) == ("classification", ("accuracy",))
    return ({"cut_rows_dropped": cut} if cut else {}) | (
        {} if usual else {"task": config.task, "metrics": list(metrics)}
    )


def _split(rows: Pool, kind: type[np.generic]) -> Split:
    return Split(tuple(texts for texts, _ in rows), np.array([label for _, label in rows], dtype=kind))
