"""How the local updates of a round are executed. The sequential engine is the specification."""

from rolora.engine.batched import BatchedEngine
from rolora.engine.jobs import Engine
from rolora.engine.sequential import SequentialEngine

ENGINES = {"sequential": SequentialEngine, "batched": BatchedEngine}
"""``runtime.engine`` -> class."""

__all__ = ["ENGINES", "BatchedEngine", "Engine", "SequentialEngine"]
