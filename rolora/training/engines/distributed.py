"""The clients of a round spread over processes: each trains its share with any engine, then all have all updates.

Why the updates themselves are gathered, and not their mean reduced: the sum of a reduction depends on how many processes
there are and in which order they add, and a method whose aggregation is no sum (a decomposition, an alignment, a weighing
by the size of updates) cannot be reduced at all. Every process holds all updates, aggregates them in the same order, and so
holds the server's state that one process would hold: with the sequential engine to the bit, with the batched one, whose
groups become others, to rounding.

What it costs: if the clients of a round return U bytes together, every one of P processes sends U / P and receives
(P - 1) U / P, in one exchange of one buffer. Where shares are unequal, all are as long as the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int64, UInt8

from rolora.adapter import FACTORS
from rolora.algorithms import Algorithm
from rolora.errors import InputError
from rolora.federation import ClientUpdate, ServerState, check_update, pack
from rolora.federation.communication import Message
from rolora.training import process_group
from rolora.training.engines.base import Engine

NUMBERS = 2
"""Numbers that travel beside a client's tensors, in float64: weight and loss."""

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Width in bytes -> the integers as which the bits of a number are summed."""

Place = tuple[str, str, str, torch.Tensor]
"""One tensor of an update: "message" or "kept", part, name, and the tensor at the start, which has its shape and dtype."""


class DistributedEngine:
    """Trains this process's share of the clients with an engine, and gives back the updates of all."""

    def __init__(
        self,
        engine: Engine,
        algorithm: Algorithm,
        device: torch.device,
        after_client: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            engine: trains the share.
            algorithm: the run's.
            device: where the updates are, and what they travel from.
            after_client: called for every client of another process when its update has come.
        """
        self.engine, self.algorithm, self.device, self.after_client = engine, algorithm, device, after_client

    def describe(self) -> dict[str, Any]:
        """Return the engine's entries of a run's record."""
        return self.engine.describe()

    def local_updates(
        self, t: int, starts: Mapping[int, ServerState], trainable: frozenset[str]
    ) -> Sequence[ClientUpdate]:
        """The updates of the clients in ``starts``, in that order.

        Raises:
            UpdateError: an update of this process's share has not the tensors that it should have.
            InputError: the processes hold different server states.
            ProcessLost: another process has ended.
        """
        dealt = deal(starts, process_group.count())
        mine = dealt[process_group.number()]
        places = {client: list(self._places(t, start, trainable)) for client, start in starts.items()}
        trained = self.engine.local_updates(t, {client: starts[client] for client in mine}, trainable) if mine else []
        for client, update in zip(mine, trained, strict=True):
            # The form alone, by which they travel: of values, all processes say the same when they have all of them.
            check_update(update, t, client, starts[client], self.algorithm, values=False)
        pieces = [fingerprint(starts[min(starts)]).view(torch.uint8).to(self.device)]
        pieces += [piece for update in trained for piece in self._packed(update, places[update.client])]
        longest = pieces[0].numel() + max(sum(size(places[client]) for client in share) for share in dealt)
        buffer = torch.zeros(longest, dtype=torch.uint8, device=self.device)
        content = torch.cat(pieces)
        buffer[: len(content)] = content
        updates = {}
        for process, (share, found) in enumerate(zip(dealt, process_group.all_gather(buffer), strict=True)):
            if not torch.equal(found[: pieces[0].numel()], pieces[0]):
                raise InputError(
                    f"round {t}: process {process} and process {process_group.number()} hold different server states, "
                    "expected equal ones; the machines or their libraries compute differently"
                )
            offset = pieces[0].numel()
            for client in share:
                updates[client] = self._unpacked(t, client, places[client], found[offset:])
                offset += size(places[client])
                if process != process_group.number() and self.after_client is not None:
                    self.after_client()
        return [updates[client] for client in starts]

    def _places(self, t: int, start: ServerState, trainable: frozenset[str]) -> Iterator[Place]:
        """The tensors that a client returns, in the order in which they travel; known to all from what it starts from."""
        for part, name, like in pack(start, self.algorithm.sent(t) | {"head"}).arrays():
            yield "message", part, name, like
        for factor in sorted(self.algorithm.personal & trainable):
            for name, layer in start.layers.items():
                yield "kept", factor, name, getattr(layer, factor)

    def _packed(self, update: ClientUpdate, places: Sequence[Place]) -> Iterator[UInt8[torch.Tensor, "bytes"]]:
        numbers = torch.tensor([update.weight, update.loss], dtype=torch.float64)
        yield as_bytes(numbers).to(self.device)
        sent = {(part, name): array for part, name, array in update.message.arrays()}
        for kind, part, name, _ in places:
            yield as_bytes(sent[part, name] if kind == "message" else update.kept[name][part])

    def _unpacked(
        self, t: int, client: int, places: Sequence[Place], content: UInt8[torch.Tensor, "bytes"]
    ) -> ClientUpdate:
        width = NUMBERS * torch.float64.itemsize
        weight, loss = content[:width].cpu().clone().view(torch.float64).tolist()
        sent: dict[str, dict[str, torch.Tensor]] = {}
        kept: dict[str, dict[str, torch.Tensor]] = {}
        for kind, part, name, like in places:
            # A copy: a view of the buffer may lie at an address that its dtype does not allow, and would keep all alive.
            tensor = content[width : width + like.nbytes].clone().view(like.dtype).reshape(like.shape)
            width += like.nbytes
            if kind == "message":
                sent.setdefault(part, {})[name] = tensor
            else:
                kept.setdefault(name, {})[part] = tensor
        head = sent.pop("head", {})
        return ClientUpdate(client, t, weight, Message(factors=sent, head=head), loss, kept)


def deal(clients: Mapping[int, Any], count: int) -> list[list[int]]:
    """The client numbers of every process, dealt in turn from the smallest on.

    Example:
        >>> deal(dict.fromkeys([4, 1, 7]), 2)
        [[1, 7], [4]]
    """
    return [sorted(clients)[process::count] for process in range(count)]


def size(places: Sequence[Place]) -> int:
    """The bytes of a client's update on its way: its tensors, its weight and its loss."""
    return NUMBERS * torch.float64.itemsize + sum(like.nbytes for *_, like in places)


def as_bytes(tensor: torch.Tensor) -> UInt8[torch.Tensor, "bytes"]:
    """The bytes of a tensor's entries, in order."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def fingerprint(state: ServerState) -> Int64[torch.Tensor, "1"]:
    """The sum of the bits of a state's numbers, read as integers: equal for equal states, whoever computes it."""
    arrays = [array for _, _, array in pack(state, frozenset({*FACTORS, "head"})).arrays()]
    arrays += [layer.residual for layer in state.layers.values() if layer.residual is not None]
    whole = torch.zeros(1, dtype=torch.int64)
    for array in arrays:
        bits = array.contiguous().reshape(-1).view(INTEGERS[array.dtype.itemsize])
        whole += bits.sum(dtype=torch.int64).cpu()
    return whole
