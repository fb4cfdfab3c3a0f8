"""Labelled text, and prompts with responses: packaged, from local files, or from the hub.

Each public name is imported when it is first used: ``rolora.data.partition`` alone stays light.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "BENCHMARKS": "known_tasks",
    "LOADERS": "loading",
    "NAMES": "known_tasks",
    "PACKAGED_DATA": "sources",
    "TextData": "classification",
    "load": "loading",
}

__all__ = ["BENCHMARKS", "LOADERS", "NAMES", "PACKAGED_DATA", "TextData", "load"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
