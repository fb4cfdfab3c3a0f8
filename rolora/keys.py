"""Random streams addressed by name.

A stream is named by its path alone, so a new consumer never shifts an old one, and the order in which clients run
cannot matter. What must be common to all algorithms (data, clients, first adapter) leaves the algorithm out of its
path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Key:
    """A path of names and integers that addresses one random stream.

    Args:
        seed: the experiment's seed, any integer.
        path: what the stream is for; usually built with :meth:`fold`.

    Example:
        >>> root = Key(7)
        >>> batches = root.fold("client", 3, "round", 0, "batches")
        >>> int(batches.generator().integers(1000)) == int(batches.generator().integers(1000))
        True
        >>> batches.integer() == Key(8).fold("client", 3, "round", 0, "batches").integer()
        False
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def fold(self, *names: str | int) -> Key:
        """The key of the stream called ``names`` below this one."""
        return Key(self.seed, self.path + names)

    def _digest(self) -> bytes:
        # Each part carries its type and length: ("1",) and (1,), ("a", "b") and ("ab",) are different streams.
        parts = [f"{type(part).__name__}:{len(str(part))}:{part}" for part in (self.seed, *self.path)]
        return hashlib.sha256("/".join(parts).encode()).digest()

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator at the start of this stream (Philox; 256 bits of the path's SHA-256)."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(int.from_bytes(self._digest(), "big"))))

    def integer(self) -> int:
        """A seed in [0, 2^63) for libraries that take an integer (``torch.Generator.manual_seed``)."""
        return int.from_bytes(self._digest()[:8], "big") >> 1
