"""Fixtures for all tests: a tiny model with random weights, a task of two words, a config of both, finished runs of it."""

from __future__ import annotations

import copy
import csv
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it: no test may reach for a network
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from rolora import config as configuration
from rolora.config import Config
from rolora.keys import Key

# Same examples in every run; "thorough" is the 2,000 of a release.
settings.register_profile("default", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=2000, deadline=None, derandomize=True, database=None)
settings.load_profile("default")

WORDS = ["good", "great", "fine", "bad", "awful", "poor", "film", "plot", "the", "a", "was", "cast"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer BERT of width 16 with random weights and a word tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from rolora.models.seeding import named_stream

    folder = tmp_path_factory.mktemp("tiny-bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    )  # fmt: skip
    with named_stream(Key(0).fold("tiny"), torch.device("cpu")):
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 240 short texts, all different, each labelled by its one positive or negative word."""
    generator = Key(0).fold("tiny text").generator()
    rows: dict[str, int] = {}
    while len(rows) < 240:
        filler = " ".join(generator.choice(WORDS[6:], size=int(generator.integers(2, 7))))
        word = int(generator.integers(6))
        rows[f"{filler} {WORDS[word]}"] = int(word < 3)
    path = tmp_path_factory.mktemp("tiny-text") / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows.items())
    return path


@pytest.fixture(scope="session")
def tiny_table(tiny_model: Path, tiny_text: Path) -> dict[str, Any]:
    """The table of a config that trains in well under a second; not to be changed, which ``table`` is for."""
    return {
        "algorithm": "rolora",
        "seed": 0,
        "model": {"name": str(tiny_model), "max_length": 16, "head": "trained"},
        "lora": {"rank": 2, "alpha": 8, "dropout": 0.1, "target_modules": ["query", "value"]},
        "data": {"name": str(tiny_text), "validation_examples": 20, "test_examples": 40},
        "federation": {"num_clients": 3, "rounds": 4, "partition": "iid", "client_weights": "examples"},
        "training": {"optimizer": "adamw", "learning_rate": 0.01, "local_steps": 3, "batch_size": 4},
        "evaluation": {"every": 2},
    }


@pytest.fixture
def table(tiny_table: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``tiny_table``, to be changed."""
    return copy.deepcopy(tiny_table)


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended: its config, its folder (with record and adapter, to be copied before it is changed), its record."""

    config: Config
    folder: Path
    record: dict[str, Any]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_table: dict[str, Any]) -> Callable[..., FinishedRun]:
    """A function from changes of ``tiny_table`` to the finished run, which is made once a session.

    Use it wherever a test reads what a run leaves (export, card, tracking, tables, commands) or compares with an undisturbed run:
    ``finished_run()``, ``finished_run(algorithm="fedsa-lora", federation__rounds=2)``.
    """
    from rolora.experiment import loop

    runs: dict[str, FinishedRun] = {}

    def finished(**changes: Any) -> FinishedRun:
        config = changed(tiny_table, **changes)
        if (name := json.dumps(config.resolved())) not in runs:
            folder = tmp_path_factory.mktemp("finished")
            runs[name] = FinishedRun(config, folder, loop.run(config, folder))
        return runs[name]

    return finished


def changed(table: dict[str, Any], **changes: Any) -> Config:
    """Return the config of a table with some fields replaced: ``federation__rounds=3``."""
    table = copy.deepcopy(table)
    for name, value in changes.items():
        *sections, field = name.split("__")
        place = table
        for section in sections:
            place = place.setdefault(section, {})
        place[field] = value
    return configuration.check(table, "test")


def relative_error(actual: Any, expected: Any) -> float:
    """Return the largest difference over the largest expected magnitude, in float64."""
    actual, expected = (np.asarray(value, dtype=np.float64) for value in (actual, expected))
    return float(np.max(np.abs(actual - expected)) / max(np.max(np.abs(expected)), 1e-300))
