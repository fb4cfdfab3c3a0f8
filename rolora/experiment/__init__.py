"""One experiment from config to record: set-up, the loop over rounds, checkpoint, record, sweep, export."""

from __future__ import annotations

from typing import Any

__all__ = ["Experiment", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # only then: the loop needs torch
        from rolora.experiment import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
