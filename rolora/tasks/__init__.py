"""Labelled text, and prompts with responses: packaged, from local files, or from the hub."""

from rolora.config import DataConfig
from rolora.tasks import instructions, text_classification
from rolora.tasks.sources import PACKAGED_DATA
from rolora.tasks.text_classification import TextData

LOADERS = {"classification": text_classification.load, "generation": instructions.load}
"""``data.task`` -> how its rows are read."""

__all__ = ["LOADERS", "PACKAGED_DATA", "TextData", "load"]


def load(config: DataConfig) -> TextData:
    """The data that a config names.

    Raises:
        InputError: what is wrong with them, and where.
    """
    return LOADERS[config.task](config)
