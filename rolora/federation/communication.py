"""Messages between server and clients, their bytes, and the versions that clients hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import array_api_compat

from rolora.adapter import FACTORS, Array

PARTS = (*FACTORS, "head")
"""Parts of a model by which traffic is counted; methods with a residual count it as well."""

VERSIONED = (*PARTS, "residual")
"""Parts of which a client may hold an old version."""


def nbytes(array: Array) -> int:
    """Return the bytes of an array's entries: their number times the width of the dtype.

    Example:
        >>> import numpy as np
        >>> nbytes(np.zeros((4, 3), dtype=np.float32))
        48
    """
    xp = array_api_compat.array_namespace(array)
    kind = xp.finfo if xp.isdtype(array.dtype, "real floating") else xp.iinfo
    return math.prod(array.shape) * kind(array.dtype).bits // 8


@dataclass(frozen=True)
class Message:
    """Tensors of one message between the server and a client.

    Args:
        factors: factor ("A" or "B") -> layer name -> array.
        head: parameter name -> array; empty if the head is frozen.
        residual: sent down alone: "LAYER.whole" -> the residual, or "LAYER.added.0" (and ".1") -> the matrix that is
            added to it (or the two whose product is).
    """

    factors: Mapping[str, Mapping[str, Array]]
    head: Mapping[str, Array] = field(default_factory=dict)
    residual: Mapping[str, Array] = field(default_factory=dict)

    def arrays(self) -> Iterator[tuple[str, str, Array]]:
        """Yield every (part, name, array)."""
        for factor, layers in self.factors.items():
            for name, array in layers.items():
                yield factor, name, array
        for name, array in self.head.items():
            yield "head", name, array
        for name, array in self.residual.items():
            yield "residual", name, array

    def bytes_by_part(self) -> dict[str, int]:
        """Return the bytes of A, B and the head (and of the residual, if there is one), counted from the arrays."""
        count = dict.fromkeys(PARTS, 0)
        for part, _, array in self.arrays():
            count[part] = count.get(part, 0) + nbytes(array)
        return count


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of several counts, part by part.

    Example:
        >>> total([{"A": 1, "B": 2, "head": 0}, {"A": 3, "B": 0, "head": 1}])
        {'A': 4, 'B': 2, 'head': 1}
    """
    result = dict.fromkeys(PARTS, 0)
    for count in counts:
        for part, number in count.items():
            result[part] = result.get(part, 0) + number
    return result


@dataclass(frozen=True)
class Ledger:
    """Versions of the parts at the server and at every client.

    A client is sent the parts whose version it does not hold: a newcomer gets everything, a client of the round before
    gets what that round changed, one that was absent for longer gets all that changed meanwhile.

    Args:
        server: part -> number of the last round that changed it, counted from 1; 0 at the start.
        held: client -> part -> version.
        previous: part -> the version before the server's.
    """

    server: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(VERSIONED, 0))
    held: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    previous: Mapping[str, int] = field(default_factory=dict)

    def missing(self, client: int) -> frozenset[str]:
        """Return the parts that a client has to be sent before it can start."""
        held = self.held.get(client, {})
        return frozenset(part for part in VERSIONED if held.get(part) != self.server[part])

    def is_one_behind(self, client: int, part: str) -> bool:
        """Return True if the client lacks the last change of a part and no other."""
        return self.held.get(client, {}).get(part) == self.previous.get(part)

    def is_new(self, client: int) -> bool:
        """Return True if the client holds nothing."""
        return client not in self.held

    def after_round(self, t: int, clients: Iterable[int], changed: Iterable[str]) -> Ledger:
        """Return the ledger after round t: ``clients`` hold what they were sent, the server has new versions of ``changed``.

        A client's own trained parts are not the aggregate, so they are stale as soon as the server aggregates.
        """
        held = dict(self.held) | {client: dict(self.server) for client in clients}
        changed = list(changed)
        return Ledger(
            server=dict(self.server) | dict.fromkeys(changed, t + 1),
            held=held,
            previous=dict(self.previous) | {part: self.server[part] for part in changed},
        )
