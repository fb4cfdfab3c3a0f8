"""Partitions of labelled examples among clients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rolora.errors import InputError
from rolora.keys import Key

PARTITIONS = ("iid", "dirichlet", "by-label", "by-column")
"""The names that configs use."""

DIRICHLET_DRAWS = 100
"""Attempts at a Dirichlet division that leaves no client without data."""


def iid(key: Key, labels: np.ndarray, num_clients: int) -> list[np.ndarray]:
    """Shuffle and deal: client sizes differ by at most one.

    Args:
        key: the stream of this partition.
        labels: (n,), integers; only their number matters here.
        num_clients: N.

    Returns:
        N sorted arrays of example indices, disjoint, covering all examples.

    Example:
        >>> [len(part) for part in iid(Key(0), np.zeros(10), 3)]
        [4, 3, 3]
    """
    order = key.generator().permutation(len(labels))
    return _checked([np.sort(part) for part in np.array_split(order, num_clients)], "iid", len(labels))


def dirichlet(key: Key, labels: np.ndarray, num_clients: int, alpha: float) -> list[np.ndarray]:
    r"""Label skew: class c is divided by proportions drawn from :math:`\mathrm{Dir}(\alpha 1_N)`.

    Small alpha gives each client few labels; large alpha approaches iid. A draw that leaves a client without data is
    redrawn, at most :data:`DIRICHLET_DRAWS` times.

    Args:
        key: the stream of this partition.
        labels: (n,), integers.
        num_clients: N.
        alpha: concentration, positive.

    Returns:
        N sorted arrays of example indices, disjoint, covering all examples.

    Raises:
        InputError: if no draw gives every client data.

    Source:
        Hsu, Qi and Brown, arXiv 1909.06335, in the per-class form that is usual in federated learning.
    """
    if alpha <= 0:
        raise InputError(f"federation.dirichlet_alpha: got {alpha}, expected a positive number")
    generator = key.generator()
    for _ in range(DIRICHLET_DRAWS):
        parts: list[list[int]] = [[] for _ in range(num_clients)]
        for label in np.unique(labels):
            members = generator.permutation(np.flatnonzero(labels == label))
            shares = generator.dirichlet(np.full(num_clients, alpha))
            cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
            for part, piece in zip(parts, np.split(members, cuts), strict=True):
                part.extend(int(index) for index in piece)
        if all(parts):
            break
    return _checked([np.sort(np.array(part, dtype=np.int64)) for part in parts], "dirichlet", len(labels))


def by_label(key: Key, labels: np.ndarray, num_clients: int, labels_per_client: int) -> list[np.ndarray]:
    """Each client holds ``labels_per_client`` of the labels and no other; holders of one label share it evenly.

    Labels are dealt in turn from a shuffled cycle, so every label is held by some client if
    num_clients * labels_per_client reaches the number of labels.

    Args:
        key: the stream of this partition.
        labels: (n,), integers.
        num_clients: N.
        labels_per_client: from 1 to the number of labels.

    Returns:
        N sorted arrays of example indices, disjoint.

    Raises:
        InputError: if labels would be left without a client, or a client without data.
    """
    names = np.unique(labels)
    if not 1 <= labels_per_client <= len(names):
        raise InputError(
            f"federation.labels_per_client: got {labels_per_client}, expected 1 to {len(names)} (the number of labels)"
        )
    if num_clients * labels_per_client < len(names):
        raise InputError(
            f"federation.partition: by-label gives {num_clients} clients x {labels_per_client} labels, "
            f"expected at least {len(names)} so that no label is left out"
        )
    generator = key.generator()
    cycle = generator.permutation(names)
    held = [
        {cycle[(client * labels_per_client + offset) % len(cycle)] for offset in range(labels_per_client)}
        for client in range(num_clients)
    ]
    parts: list[list[np.ndarray]] = [[] for _ in range(num_clients)]
    for label in names:
        members = generator.permutation(np.flatnonzero(labels == label))
        holders = [client for client in range(num_clients) if label in held[client]]
        for client, piece in zip(holders, np.array_split(members, len(holders)), strict=True):
            parts[client].append(piece)
    return _checked([np.sort(np.concatenate(part)) for part in parts], "by-label", len(labels))


def by_column(owners: np.ndarray, num_clients: int) -> list[np.ndarray]:
    """The division that the data bring along: a client for every value of a column, in the order of the values.

    Args:
        owners: (n,), whose example each is.
        num_clients: N, as many as there are different values.

    Returns:
        N sorted arrays of example indices, disjoint, covering all examples.

    Raises:
        InputError: there are more or fewer owners than clients.

    Example:
        >>> [part.tolist() for part in by_column(np.array(["b", "a", "b"]), 2)]
        [[1], [0, 2]]
    """
    names = sorted(set(owners.tolist()))
    if len(names) != num_clients:
        raise InputError(
            f"federation.num_clients: got {num_clients}, expected {len(names)}, the different values of data.client_column "
            "in the training text"
        )
    return [np.flatnonzero(owners == name) for name in names]


def _checked(parts: Sequence[np.ndarray], name: str, num_examples: int) -> list[np.ndarray]:
    empty = [client for client, part in enumerate(parts) if len(part) == 0]
    if empty:
        raise InputError(
            f"federation.partition: {name} leaves client {empty[0]} without data "
            f"({len(empty)} of {len(parts)} clients; {num_examples} training examples), "
            f"expected at least one example for each client"
        )
    return list(parts)
