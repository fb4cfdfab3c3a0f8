"""Text that no client sees: what the source holds out itself, and what is held out here; equal texts count as one."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rolora.config import DataConfig
from rolora.errors import InputError
from rolora.keys import Key

Pool = list[tuple[tuple[str, ...], Any]]
"""Examples: their texts, and whatever goes with them."""


def normalised(texts: tuple[str, ...]) -> str:
    """Return a text's letters (with their marks) and digits, case folded: examples with equal ones are duplicates.

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


def distinct(
    rows: Mapping[str, Sequence[tuple[tuple[str, ...], Any]]], whole_test: bool = False
) -> tuple[dict[str, Pool], int, str]:
    """Test, validation and training examples without texts that stand in an earlier part or further up.

    A source with one held-out split has it as its test set; a part that it has not is empty.

    Args:
        rows: by split of the source: "train", and "validation" and "test" if it has them.
        whole_test: the source's own test rows all count, those too that equal one another: a benchmark's score is the score
            of all of them.

    Returns:
        The examples by part, how many were dropped, and the split that became the test set.
    """
    own_test = next((split for split in ("test", "validation") if split in rows), "train")
    own_validation = "validation" if own_test == "test" and "validation" in rows else None
    seen: set[str] = set()
    pools: dict[str, Pool] = {}
    dropped = 0
    for part, split in {"test": own_test, "validation": own_validation, "train": "train"}.items():
        pools[part] = []
        if split is None or (split == "train" and part != "train"):
            continue
        for texts, rest in rows[split]:
            key = normalised(texts)
            kept = key not in seen or (whole_test and part == "test")
            dropped += not kept
            if kept:
                seen.add(key)
                pools[part].append((texts, rest))
    return pools, dropped, own_test


def hold_out(pools: dict[str, Pool], config: DataConfig) -> tuple[Pool, Pool, Pool]:
    """Training, validation and test examples: what the source does not hold out itself is drawn from its training rows.

    Raises:
        InputError: too few rows.
    """
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
