"""Prompt templates: plain, LLM-Adapters' (alpaca), or the model's chat format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rolora.errors import InputError
from rolora.evaluation.benchmarks.benchmark import Template

INDENT = " " * 16
"""LLM-Adapters' template is an indented string in its source: the model sees the indentation, in training and evaluation."""


def alpaca(instruction: str) -> str:
    """Return the prompt of LLM-Adapters' evaluation (``commonsense_evaluate.py``, commit e0efdc0e), after Stanford Alpaca.

    Its training script (``finetune.py``, commit 063e3d42) has another one: "# noqa: E501" stands in the first line, by
    accident of a string, and one more indented line before the response. Here one prompt is used for both.

    Example:
        >>> alpaca("Say yes.").splitlines()[-2:]
        ['                ### Response:', '                ']
    """
    return (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request. \n\n"
        f"{INDENT}### Instruction:\n{INDENT}{instruction}\n\n{INDENT}### Response:\n{INDENT}"
    )


def wrapper(template: Template, tokenizer: Any) -> Callable[[str], str]:
    """Return the function from an instruction to a prompt.

    Raises:
        InputError: the chat format of a model that has none.
    """
    if template == "plain":
        return lambda instruction: instruction
    if template == "alpaca":
        return alpaca
    if getattr(tokenizer, "chat_template", None) is None:
        raise InputError(
            key="--template", got="chat", expected="plain or alpaca, as this model's tokenizer has no chat format"
        )

    def chat(instruction: str) -> str:
        message = [{"role": "user", "content": instruction}]
        return tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)

    return chat
