"""Traffic of every round of a run, counted by the code that counts a real run's messages.

Nothing is trained: the arrays need a shape and a dtype and no numbers (torch's meta device, for instance).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolora.algorithms import Algorithm
from rolora.config import Config
from rolora.federation import ServerState, pack, sent_down, start_of
from rolora.federation.communication import Ledger, total
from rolora.federation.sampling import sample_clients
from rolora.keys import Key

DIRECTIONS = ("up", "down", "joining")


@dataclass(frozen=True)
class Traffic:
    """The bytes of one round by part, as a record names them."""

    round: int
    trained: tuple[str, ...]
    clients: tuple[int, ...]
    bytes_up: Mapping[str, int]
    bytes_down: Mapping[str, int]
    bytes_joining: Mapping[str, int]

    def by_direction(self) -> dict[str, Mapping[str, int]]:
        """Direction -> part -> bytes."""
        return {"up": self.bytes_up, "down": self.bytes_down, "joining": self.bytes_joining}


def traffic(config: Config, state: ServerState) -> Iterator[Traffic]:
    """Every round's traffic, by the code that a run counts with.

    Clients of one rank that hold the same parts are sent the same: one of them is asked for, whatever their number. An
    aggregation is carried out only where it decides what travels (a residual), and on shapes alone.

    Args:
        config: the run's.
        state: the server's at the start; its arrays need no numbers.
    """
    algorithm, key, federation = config.build_algorithm(), Key(config.seed), config.federation
    number = 1 if algorithm.pooled else federation.num_clients
    server, ledger = state, Ledger()
    after: dict[Any, ServerState] = {}
    counted: dict[Any, tuple[dict[str, int], dict[str, int]]] = {}
    for t in range(federation.rounds):
        clients = sample_clients(key, t, number, federation.clients_per_round)
        changed = algorithm.changed(t)
        alike: dict[Any, list[int]] = {}
        for client in clients:
            missing, new = ledger.missing(client), ledger.is_new(client)
            behind = ledger.is_one_behind(client, "residual")
            alike.setdefault((config.rank_of(client), missing, new, behind), []).append(client)
        sums: dict[str, list[dict[str, int]]] = {direction: [] for direction in DIRECTIONS}
        for (rank, *held), members in alike.items():
            kind = rank, *held, algorithm.trainable(t), algorithm.sent(t), id(server)
            if kind not in counted:
                start = start_of(t, server, algorithm, members[0], rank)
                up = pack(start, algorithm.sent(t) | {"head"})
                down = sent_down(start, ledger, members[0], algorithm)
                counted[kind] = up.bytes_by_part(), down.bytes_by_part()
            up, down = ({part: len(members) * size for part, size in one.items()} for one in counted[kind])
            sums["up"].append(up)
            sums["joining" if ledger.is_new(members[0]) else "down"].append(down)
        yield Traffic(
            t,
            tuple(sorted(algorithm.trainable(t))),
            tuple(clients),
            **{f"bytes_{direction}": total(counts) for direction, counts in sums.items()},
        )
        if "residual" in changed:
            ranks = tuple(sorted(config.rank_of(client) for client in clients))
            if (ranks, server is state) not in after:
                after[ranks, server is state] = _aggregated(t, server, algorithm, ranks)
            server = after[ranks, server is state]
        ledger = ledger.after_round(t, clients, changed | ({"head"} if state.head else set()))


def _aggregated(t: int, server: ServerState, algorithm: Algorithm, ranks: Sequence[int]) -> ServerState:
    """The server's state after a round of clients of these ranks; shapes alone."""
    layers = {
        name: algorithm.aggregate(
            t, layer, [algorithm.broadcast(t, layer, rank) for rank in ranks], [1 / len(ranks)] * len(ranks)
        )
        for name, layer in server.layers.items()
    }
    return ServerState(layers, server.head)


def pattern(rounds: Sequence[Traffic]) -> tuple[int, int | None]:
    """Return the number of first rounds after which the traffic repeats, and the period (None: it does not repeat).

    Where the clients change from round to round nothing is said to repeat, and four rounds are shown.

    Example:
        >>> rounds = [Traffic(t, ("BA"[t % 2],), (), {}, {}, {"A": 4 * (t == 0)}) for t in range(9)]
        >>> pattern(rounds)
        (3, 2)
    """

    def cost(one: Traffic) -> tuple[object, ...]:
        return one.trained, one.bytes_up, one.bytes_down, one.bytes_joining

    steady = all(one.clients == rounds[0].clients for one in rounds)
    for shown in range(1, min(len(rounds), 24) if steady else 0):
        for period in range(1, shown + 1):
            if all(
                cost(one) == cost(before) for one, before in zip(rounds[shown:], rounds[shown - period :], strict=False)
            ):
                return shown, period
    return min(len(rounds), 4), None
