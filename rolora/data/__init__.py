"""Labelled text, and prompts with responses: packaged, from local files, or from the hub."""

from collections.abc import Callable

from rolora.config import DataConfig
from rolora.data import classification, instructions
from rolora.data.classification import TextData
from rolora.data.known_tasks import BENCHMARKS, NAMES
from rolora.data.sources import PACKAGED_DATA

__all__ = ["BENCHMARKS", "LOADERS", "NAMES", "PACKAGED_DATA", "TextData", "load"]

LOADERS: dict[str, Callable[[DataConfig], TextData]] = {
    "classification": classification.load,
    "regression": classification.load,
    "generation": instructions.load,
}
"""What reads the data of each ``data.task``."""


def load(config: DataConfig) -> TextData:
    """The data of a config, read by its task's loader.

    Raises:
        InputError: whatever of the data is not as it has to be.
    """
    return LOADERS[config.task](config)
