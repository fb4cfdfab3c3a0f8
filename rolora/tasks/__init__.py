"""Labelled text: packaged, from local files, or from the hub."""

from collections.abc import Callable

from rolora.config import DataConfig
from rolora.errors import InputError
from rolora.tasks import text_classification
from rolora.tasks.benchmarks import BENCHMARKS, NAMES
from rolora.tasks.sources import PACKAGED_DATA
from rolora.tasks.text_classification import TextData

__all__ = ["BENCHMARKS", "LOADERS", "NAMES", "PACKAGED_DATA", "TextData", "load"]

LOADERS: dict[str, Callable[[DataConfig], TextData]] = {
    "classification": text_classification.load,
    "regression": text_classification.load,
}
"""What reads the data of each ``data.task``."""


def load(config: DataConfig) -> TextData:
    """The data of a config, read by its task's loader.

    Raises:
        InputError: whatever of the data is not as it has to be.
    """
    if config.task not in LOADERS:
        raise InputError(f'data.task: got "{config.task}", expected one of {", ".join(LOADERS)}')
    return LOADERS[config.task](config)
