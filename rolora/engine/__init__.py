"""How the local updates of a round are executed. The sequential engine is the specification."""

from rolora.engine.sequential import SequentialEngine

__all__ = ["SequentialEngine"]
