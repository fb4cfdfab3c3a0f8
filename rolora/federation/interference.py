r"""Losses of a round by layer: interference of the clients' factors, and the part of the ideal update that was missed.

With the ideal update :math:`D = \sum_i p_i (A_i B_i + R_i)` of one layer, and U and U' the server's update before and after,

.. math::
    \text{interference} = \frac{\|\sum_i p_i (A_i - \bar A)(B_i - \bar B)\|_F}{\|D - U\|_F}, \qquad
    \text{missed} = \frac{\|D - U'\|_F}{\|D - U\|_F}

The first is what averaging the factors separately would miss, whatever the method did; the second is what the method missed:
equal to the first for FedAvg-LoRA, zero to rounding for exact methods. Both are relative to the norm of the clients' mean update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import array_api_compat

from rolora.adapter import Array, Layer


def lost(before: Layer, after: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Mapping[str, float | None]:
    """Return interference and miss of one layer in one round.

    Args:
        before: the server's layer before the round.
        after: the server's layer after the round.
        clients: the clients' layers after training.
        weights: p_i, summing to one.

    Returns:
        "interference" (None where ranks differ) and "missed", both >= 0; None where their mean update is zero.

    Example:
        >>> import numpy as np
        >>> from rolora.algorithms.fedavg_lora import FedAvgLoRA
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(-np.eye(2), -np.eye(2))]
        >>> before = Layer(np.eye(2), np.zeros((2, 2)))
        >>> after = FedAvgLoRA().aggregate(0, before, clients, [0.5, 0.5])
        >>> lost(before, after, clients, [0.5, 0.5])
        {'interference': 1.0, 'missed': 1.0}
    """
    dense = [_wide(client.update) for client in clients]
    ideal = sum(p * update for p, update in zip(weights, dense, strict=True))
    moved = _norm(ideal - _wide(before.update))
    if moved == 0:
        return {"interference": None, "missed": None}
    missed = _norm(ideal - _wide(after.update)) / moved
    if len({client.rank for client in clients}) > 1:
        return {"interference": None, "missed": missed}
    factors = [(_wide(client.A), _wide(client.B)) for client in clients]
    mean_a, mean_b = (sum(p * pair[i] for p, pair in zip(weights, factors, strict=True)) for i in (0, 1))
    spread = sum(p * ((a - mean_a) @ (b - mean_b)) for p, (a, b) in zip(weights, factors, strict=True))
    return {"interference": _norm(spread) / moved, "missed": missed}


def _wide(array: Array) -> Array:
    xp = array_api_compat.array_namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def _norm(array: Array) -> float:
    xp = array_api_compat.array_namespace(array)
    return float(xp.sqrt(xp.sum(array * array)))
