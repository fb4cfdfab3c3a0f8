r"""Client-level differential privacy: DP-FedAvg on any method whose server takes a mean (McMahan et al., arXiv 1710.06963).

With :math:`\Delta_i` the difference between all tensors that client i sends and what it was given, over all layers together,

.. math::
    \bar\Delta_i = \Delta_i \min(1, C / \|\Delta_i\|_2), \qquad
    X^{t+1} = X^t + \frac1n \sum_i \bar\Delta_i + \mathcal N(0, (z C / n)^2)

The mean moves by at most C / n if one client's update is replaced by zero, so z is the noise over the sensitivity. The factor
that a round does not train is not sent, and neither clipped nor noised: it keeps its bits.

The noise is drawn once a round and added to every clipped update. For a method that ``averages``, with weights that sum to
one, :math:`\sum_i p_i (X_i + \nu) = \sum_i p_i X_i + \nu`: the server gets the mean with the noise and nothing else of it, and
its step, an optimiser of its own included, needs no second version. In floating point the two sides are equal to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import array_api_compat
import numpy as np

from rolora.adapter import Array
from rolora.communication import Message
from rolora.federation import ClientUpdate, OpenRound, ServerState, pack

Draw = Callable[[int, str, str], np.random.Generator]
"""(round, part, name of the layer or of the head's tensor) -> the generator of its noise."""


def protect(
    opened: OpenRound, updates: Sequence[ClientUpdate], clip: float, noise_multiplier: float, draw: Draw
) -> list[ClientUpdate]:
    """The updates from which the server's mean is private.

    Args:
        opened: the round, with what every client was given.
        updates: what they returned; of equal weight.
        clip: C.
        noise_multiplier: z; with 0 nothing is added and nothing drawn.
        draw: the noise's streams.

    Returns:
        Each update with its difference clipped to norm C, and one common noise of standard deviation z C / n added to it.
    """
    if len({update.weight for update in updates}) != 1:
        raise ValueError("updates of different weight, expected equal ones: their mean's sensitivity is clip / n")
    clipped = [clip_update(update, opened.broadcasts[update.client], clip) for update in updates]
    if noise_multiplier == 0:
        return clipped
    deviation = noise_multiplier * clip / len(updates)
    noise = {
        (part, name): deviation * draw(opened.t, part, name).standard_normal(tuple(array.shape))
        for part, name, array in clipped[0].message.arrays()
    }
    return [replace(update, message=_mapped(update.message, noise, _plus)) for update in clipped]


def clip_update(update: ClientUpdate, start: ServerState, clip: float) -> ClientUpdate:
    """The update with its difference from ``start`` scaled to an L2 norm of at most ``clip``; itself if it has no more.

    The norm is over all that is sent, measured in float64 on the numbers as they will travel: where rounding leaves it above
    ``clip``, the difference is scaled once more.
    """
    starts = {(part, name): array for part, name, array in pack(start, _parts(update.message)).arrays()}
    scale, shrink, clipped = 1.0, 2.0**-40, update
    size = norm(update.message, starts)
    while size > clip:
        scale *= clip / size * (1 - shrink)
        shrink = min(1.0, 4 * shrink)  # ends at the start itself, whose difference is zero

        def scaled(array: Array, before: Array, scale: float = scale) -> Array:
            return _plus(before, scale * (_wide(array) - _wide(before)))

        clipped = replace(update, message=_mapped(update.message, starts, scaled))
        size = norm(clipped.message, starts)
    return clipped


def norm(message: Message, starts: Mapping[tuple[str, str], Array]) -> float:
    """The L2 norm of the difference between what is sent and ``starts``, over all tensors together."""
    squares = 0.0
    for part, name, array in message.arrays():
        difference = _wide(array) - _wide(starts[part, name])
        squares += float(array_api_compat.array_namespace(array).sum(difference * difference))
    return math.sqrt(squares)


def _parts(message: Message) -> frozenset[str]:
    return frozenset(part for part, _, _ in message.arrays())


def _mapped(message: Message, other: Mapping[tuple[str, str], Any], change: Callable[[Array, Any], Array]) -> Message:
    """The message with every tensor changed by its partner in ``other``."""
    factors = {
        factor: {name: change(array, other[factor, name]) for name, array in arrays.items()}
        for factor, arrays in message.factors.items()
    }
    return replace(
        message,
        factors=factors,
        head={name: change(array, other["head", name]) for name, array in message.head.items()},
    )


def _wide(array: Array) -> Array:
    xp = array_api_compat.array_namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def _plus(array: Array, added: Any) -> Array:
    """The sum, taken in float64 and rounded once to the array's own dtype."""
    xp = array_api_compat.array_namespace(array)
    added = xp.asarray(added, dtype=xp.float64, device=array_api_compat.device(array))
    return xp.astype(_wide(array) + added, array.dtype, copy=False)
