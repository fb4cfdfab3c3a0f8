"""Texts as what a model takes: done once, so that no step tokenises again."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rolora.config import Config
from rolora.errors import InputError
from rolora.models.backbone import Backbone
from rolora.training.examples import Examples
from rolora.training.objectives import IGNORED

ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{0}\n\n### Response:\n"
)
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{0}\n\n### Input:\n{1}\n\n### Response:\n"
)
"""The frames of Stanford Alpaca (2023), which LLM-Adapters uses too."""


def tokenise(backbone: Backbone, split: Any, config: Config, metrics: tuple[str, ...] = ("accuracy",)) -> Examples:
    """All texts of a split, with their targets and how they are measured.

    Args:
        backbone: its tokenizer, and which inputs its model takes.
        split: texts and labels (``rolora.data``).
        config: ``model.max_length``, ``data.task`` and, for generation, ``data.template``.
        metrics: the task's.
    """
    if config.data.task == "generation":
        return prompted(backbone.tokenizer, split.texts, config.model.max_length, config.data.template)
    tokenizer, taken = backbone.tokenizer, inspect.signature(backbone.model.forward).parameters
    columns = list(zip(*split.texts, strict=True))
    encoded = tokenizer(*(list(column) for column in columns), truncation=True, max_length=config.model.max_length)
    pad = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}
    return Examples(
        fields={name: rows for name, rows in encoded.items() if name in pad and name in taken},
        labels=split.labels,
        pad=pad,
        task=config.data.task,
        metrics=metrics,
    )


def framed(tokenizer: Any, prompt: Sequence[str], template: str) -> str:
    """A prompt of one or two parts as the text that stands before the response.

    Args:
        tokenizer: has the chat format.
        prompt: the instruction, and its input, which may be empty.
        template: "plain" (the parts, an empty line between them), "alpaca", or "chat" (the tokenizer's own).

    Raises:
        InputError: the tokenizer has no chat format.

    Example:
        >>> framed(None, ("Name a colour.", ""), "plain")
        'Name a colour.'
    """
    parts = [part for part in prompt if part]
    if template == "alpaca":
        return (ALPACA_WITH_INPUT if len(parts) > 1 else ALPACA).format(*parts)
    joined = "\n\n".join(parts)
    if template == "plain":
        return joined
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            'data.template: got "chat", expected "plain" or "alpaca": the model\'s tokenizer has no chat format'
        )
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": joined}], tokenize=False, add_generation_prompt=True
    )


def prompted(tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int, template: str) -> Examples:
    """Prompts with their responses; only the response's tokens, and the end after it, are learned.

    What is longer than ``max_length`` loses the beginning of its prompt, down to half of the length, and then the end of
    its response; so something is always left to learn.

    Args:
        tokenizer: of the model.
        texts: (instruction, ..., response) of every example.
        max_length: tokens.
        template: see :func:`framed`.
    """
    before = [framed(tokenizer, parts[:-1], template) for parts in texts]
    ends = tokenizer.eos_token or ""
    # A chat format writes its special tokens itself.
    prompts = tokenizer(before, add_special_tokens=template != "chat")["input_ids"]
    responses = tokenizer([parts[-1] + ends for parts in texts], add_special_tokens=False)["input_ids"]
    rows, targets = [], []
    for prompt, response in zip(prompts, responses, strict=True):
        room = max(max_length - len(response), max_length // 2)
        prompt = prompt[-room:]
        response = response[: max_length - len(prompt)]
        rows.append(prompt + response)
        targets.append([IGNORED] * len(prompt) + response)
    fields = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return Examples(
        fields, targets, {"input_ids": tokenizer.pad_token_id, "attention_mask": 0}, "generation", ("loss",)
    )


def packed(examples: Examples, clients: Sequence[np.ndarray], max_length: int) -> tuple[Examples, list[np.ndarray]]:
    """Pack several texts of one client into a row.

    No attention mask is needed: position ids restart at 0 for each text, and padding is on the right. First fit in the client's
    order: a text goes to the first row with room.

    Args:
        examples: prompted ones.
        clients: the indices that each client holds.
        max_length: tokens of a row.

    Returns:
        The rows as examples, and the indices of each client's rows.
    """
    rows: list[list[int]] = []
    held = []
    for indices in clients:
        own: list[list[int]] = []
        room: list[int] = []
        for index in indices:
            size = len(examples.fields["input_ids"][index])
            place = next((at for at, left in enumerate(room) if left >= size), None)
            if place is None:
                own.append([])
                room.append(max_length)
                place = len(own) - 1
            own[place].append(int(index))
            room[place] -= size
        held.append(np.arange(len(rows), len(rows) + len(own)))
        rows += own

    def joined(parts: Sequence[Sequence[int]], row: list[int]) -> list[int]:
        return [value for index in row for value in parts[index]]

    ids = examples.fields["input_ids"]
    # No token predicts the first token of a text.
    targets = [[IGNORED, *values[1:]] for values in examples.labels]
    packs = replace(
        examples,
        fields={
            "input_ids": [joined(ids, row) for row in rows],
            "position_ids": [[at for index in row for at in range(len(ids[index]))] for row in rows],
        },
        labels=[joined(targets, row) for row in rows],
        pad={"input_ids": examples.pad["input_ids"], "position_ids": 0},
        texts_in_row=np.array([len(row) for row in rows]),
    )
    return packs, held
