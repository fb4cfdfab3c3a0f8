"""Engines, which execute the local updates of a round. The sequential engine is the specification."""

from rolora.training.engines.base import Engine
from rolora.training.engines.batched import BatchedEngine
from rolora.training.engines.sequential import SequentialEngine

ENGINES = {"sequential": SequentialEngine, "batched": BatchedEngine}
"""``runtime.engine`` -> class."""

__all__ = ["ENGINES", "BatchedEngine", "Engine", "SequentialEngine"]
