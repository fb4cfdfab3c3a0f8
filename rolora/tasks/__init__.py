"""Labelled text: packaged, from local files, or from the hub."""

from rolora.tasks.text_classification import PACKAGED_DATA, TextData, load

__all__ = ["PACKAGED_DATA", "TextData", "load"]
