"""A tiny model and a task of two words in a folder, without pytest's fixtures, for runs of many clients."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from rolora.keys import Key
from rolora.models.seeding import named_stream
from tests.conftest import WORDS


def table(folder: Path, clients: int, rounds: int) -> dict[str, Any]:
    """Write model and texts into a folder; the table of a config that trains on them, twenty texts a client."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    model = folder / "model"
    model.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (model / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(model / "vocab.txt"), model_max_length=32).save_pretrained(model)
    sizes = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32,
    )  # fmt: skip
    with named_stream(Key(0).fold("tiny"), torch.device("cpu")):
        BertModel(sizes).save_pretrained(model)
    generator, rows = Key(0).fold("many texts").generator(), {}
    while len(rows) < 20 * clients + 60:
        filler = " ".join(generator.choice(WORDS[6:], size=int(generator.integers(4, 12))))
        word = int(generator.integers(6))
        rows[f"{filler} {WORDS[word]}"] = int(word < 3)
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows.items()])
    return {
        "algorithm": "rolora",
        "seed": 0,
        "model": {"name": str(model), "max_length": 16, "head": "trained"},
        "lora": {"rank": 2, "alpha": 8, "dropout": 0.1, "target_modules": ["query", "value"]},
        "data": {"name": str(folder / "rows.csv"), "validation_examples": 20, "test_examples": 40},
        "federation": {"num_clients": clients, "rounds": rounds, "partition": "iid", "client_weights": "examples"},
        "training": {"optimizer": "adamw", "learning_rate": 0.01, "local_steps": 3, "batch_size": 4},
        "evaluation": {"every": rounds},
    }
