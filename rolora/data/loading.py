"""Loaders of the three tasks: labelled text, scored text, prompts with responses."""

from __future__ import annotations

from collections.abc import Callable

from rolora.config import DataConfig
from rolora.data import classification, instructions
from rolora.data.classification import TextData

LOADERS: dict[str, Callable[[DataConfig], TextData]] = {
    "classification": classification.load,
    "regression": classification.load,
    "generation": instructions.load,
}
"""``data.task`` -> loader."""


def load(config: DataConfig) -> TextData:
    """Load the data of a config with its task's loader.

    Raises:
        InputError: a file, column, label or number of examples is not as the config requires.
    """
    return LOADERS[config.task](config)
