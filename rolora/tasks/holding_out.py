"""Text that no client sees: what the source holds out itself, and what is held out here; equal texts count as one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rolora.config import DataConfig
from rolora.errors import InputError
from rolora.keys import Key

Rows = Sequence[tuple[tuple[str, ...], Any]]
"""(texts, whatever goes with them) of every example."""


def normalised(texts: tuple[str, ...]) -> str:
    """What makes two examples the same text: letters and digits alone, case folded.

    Example:
        >>> normalised(("A  film, he said!",)) == normalised(("a film he said",))
        True
    """
    return "\x1f".join(" ".join(re.findall(r"\w+", text.casefold())) for text in texts)


def hold_out(rows: Mapping[str, Rows], config: DataConfig) -> tuple[dict[str, Rows], int]:
    """Training, validation and test rows, and how many rows were dropped because their text had been met before.

    Texts that are equal once case, punctuation and spacing are taken away count as one: the first is kept, so no
    training text stands in the validation or test text again. Where the source has its own validation or test rows,
    training rows that equal one of them are dropped. A source with one held-out split has it as its test rows.

    Args:
        rows: by split, "train" and, if there are any, "validation" and "test".
        config: how many to hold out where the source does not, and how many to train on.

    Raises:
        InputError: too few rows.
    """
    held_out, other = rows.get("test"), rows.get("validation")
    if held_out is None:
        held_out, other = other, None
    seen: set[str] = set()
    pools: dict[str, Rows] = {}
    dropped = 0
    for split, part in (("test", held_out), ("validation", other), ("train", rows["train"])):
        kept = []
        for row in part or ():
            text = normalised(row[0])
            if text in seen:
                dropped += 1
            else:
                seen.add(text)
                kept.append(row)
        pools[split] = kept
    train = pools["train"]
    key = Key(config.split_seed).fold("data", "split")
    for split, size in (("test", config.test_examples), ("validation", config.validation_examples)):
        if not pools[split]:
            order = key.fold(split).generator().permutation(len(train))
            if size >= len(train):
                raise InputError(
                    f"data.{split}_examples: got {size}, expected fewer than the {len(train)} distinct training texts"
                )
            pools[split] = [train[index] for index in np.sort(order[:size])]
            train = [train[index] for index in np.sort(order[size:])]
    if config.train_examples is not None:
        if config.train_examples > len(train):
            raise InputError(f"data.train_examples: got {config.train_examples}, expected at most {len(train)}")
        order = key.fold("train").generator().permutation(len(train))
        train = [train[index] for index in np.sort(order[: config.train_examples])]
    return pools | {"train": train}, dropped
