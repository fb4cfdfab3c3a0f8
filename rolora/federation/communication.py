"""What travels, and how many bytes it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import array_api_compat

from rolora.adapter import FACTORS, Array

PARTS = (*FACTORS, "head")
"""The parts of a model by which traffic is counted; methods that have one count the residual as well."""

VERSIONED = (*PARTS, "residual")
"""The parts of which a client may hold an old version."""


def nbytes(array: Array) -> int:
    """The bytes of an array's entries: its number of entries times the width of its dtype.

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
    """The tensors that travel between the server and one client, and nothing else.

    Args:
        factors: factor ("A" or "B") -> layer name -> array.
        head: parameter name -> array; empty if the head is frozen.
        residual: only ever sent down: "LAYER.whole" -> the residual, or "LAYER.added.0" (and ".1") -> the matrix that is
            added to it (or the two whose product is).
    """

    factors: Mapping[str, Mapping[str, Array]]
    head: Mapping[str, Array] = field(default_factory=dict)
    residual: Mapping[str, Array] = field(default_factory=dict)

    def arrays(self) -> Iterator[tuple[str, str, Array]]:
        """Every (part, name, array) in the message."""
        for factor, layers in self.factors.items():
            for name, array in layers.items():
                yield factor, name, array
        for name, array in self.head.items():
            yield "head", name, array
        for name, array in self.residual.items():
            yield "residual", name, array

    def bytes_by_part(self) -> dict[str, int]:
        """Bytes of A, B and the head (and of the residual, if there is one), counted from the arrays themselves."""
        count = dict.fromkeys(PARTS, 0)
        for part, _, array in self.arrays():
            count[part] = count.get(part, 0) + nbytes(array)
        return count


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts, part by part.

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
    """Which version of each part the server has, and which one each client holds.

    A client is sent the parts whose version it does not hold: a newcomer gets everything, a client that took part in
    the round before gets what that round changed, one that stayed away gets all that changed meanwhile.

    Args:
        server: part -> number of the last round that changed it, counted from 1; 0 at the start.
        held: client -> part -> version.
        previous: part -> the version before the server's.
    """

    server: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(VERSIONED, 0))
    held: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    previous: Mapping[str, int] = field(default_factory=dict)

    def missing(self, client: int) -> frozenset[str]:
        """The parts that this client has to be sent before it can start."""
        held = self.held.get(client, {})
        return frozenset(part for part in VERSIONED if held.get(part) != self.server[part])

    def is_one_behind(self, client: int, part: str) -> bool:
        """True if the client lacks the last change of a part and no other."""
        return self.held.get(client, {}).get(part) == self.previous.get(part)

    def is_new(self, client: int) -> bool:
        """True if the client has never been sent anything."""
        return client not in self.held

    def after_round(self, t: int, clients: Iterable[int], changed: Iterable[str]) -> Ledger:
        """The ledger after round t: its clients hold what they were sent, the server has new versions of ``changed``.

        A client's own trained parts are not the aggregate, so they are stale as soon as the server aggregates.
        """
        held = dict(self.held) | {client: dict(self.server) for client in clients}
        changed = list(changed)
        return Ledger(
            server=dict(self.server) | dict.fromkeys(changed, t + 1),
            held=held,
            previous=dict(self.previous) | {part: self.server[part] for part in changed},
        )
