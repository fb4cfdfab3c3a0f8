"""Sampling of a round's clients."""

from __future__ import annotations

from rolora.errors import InputError
from rolora.keys import Key


def sample_clients(key: Key, t: int, num_clients: int, clients_per_round: int | None) -> list[int]:
    """Return the clients of round t: all, or a uniform sample without replacement, in ascending order.

    Args:
        key: the experiment's key; the algorithm is not part of it, so all algorithms see the same clients.
        t: the round.
        num_clients: N.
        clients_per_round: size of the sample; None for all.

    Example:
        >>> sample_clients(Key(0), 0, 4, None)
        [0, 1, 2, 3]
    """
    if clients_per_round is None or clients_per_round == num_clients:
        return list(range(num_clients))
    if not 1 <= clients_per_round <= num_clients:
        raise InputError(key="clients_per_round", got=clients_per_round, expected=f"1 to num_clients = {num_clients}")
    sample = key.fold("round", t, "participation").generator().choice(num_clients, clients_per_round, replace=False)
    return sorted(int(client) for client in sample)
