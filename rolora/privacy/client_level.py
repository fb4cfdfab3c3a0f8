r"""Client-level differential privacy: DP-FedAvg on any method whose server takes a mean (McMahan et al., arXiv 1710.06963).

With :math:`\Delta_i = X_i - X^t` the difference between all tensors that client i sends and what it was given, over all layers
together,

.. math::
    \bar\Delta_i = \Delta_i \min(1, C / \|\Delta_i\|_2), \qquad
    Y = X^t + \frac1n \sum_i \bar\Delta_i + \mathcal N(0, (z C / n)^2)

The sum moves by at most C if one client's update is replaced by zero, so z is the noise over the sensitivity. An update that
was refused (``rolora.federation.validation``) counts as zero, and n stays the number of clients that were asked: why one is refused
depends on itself alone, and how many are shows in the last digit of what comes out
at most (the mean of equal arrays is rounded). The factor that
a round does not train is not sent, and neither clipped nor noised: it keeps its bits.

What the server then sees in the place of every client's update is Y, and nothing else of any client. A method that
``averages``, with weights that sum to one, takes the mean of equal things, :math:`\sum_i p_i Y = Y`: its own step, an optimiser at
the server included, is done on Y as without privacy on the mean, and needs no second version. Clipping, mean and noise are in
float64 and Y is rounded once; what follows is post-processing, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import array_api_compat
import numpy as np

from rolora.adapter import Array
from rolora.federation import ClientUpdate, OpenRound, ServerState, pack
from rolora.federation.communication import Message

Draw = Callable[[int, str, str], np.random.Generator]
"""(round, part, name of the layer or of the head's tensor) -> the generator of its noise."""

Tensors = Mapping[tuple[str, str], Array]
"""(part, name) -> array."""

MARGIN = 2.0**-40
"""By how much less than C a clipped difference is made, so that its rounding in float64 cannot lift it above."""


def protect(
    opened: OpenRound, updates: Sequence[ClientUpdate], clip: float, noise_multiplier: float, draw: Draw
) -> list[ClientUpdate]:
    """The updates with the round's private mean in the place of what each client sent.

    Args:
        opened: the round, with what every client was given: the same, for a method that averages.
        updates: what has been accepted of what they returned; of equal weight.
        clip: C.
        noise_multiplier: z; with 0 nothing is added and nothing drawn.
        draw: the noise's streams.
    """
    if len({update.weight for update in updates}) != 1:
        raise ValueError("updates of different weight, expected equal ones: their mean's sensitivity is clip / n")
    # By number, not by arrival: the order of a sum can change its last bit.
    ordered = sorted(updates, key=lambda update: update.client)
    moves = [clipped(update.message, opened.broadcasts[update.client], clip) for update in ordered]
    asked = len(opened.clients)
    deviation = noise_multiplier * clip / asked

    def private(part: str, name: str, start: Array) -> Array:
        total = _wide(start) + sum(move[part, name] for move in moves) / asked
        if deviation > 0:
            noise = deviation * draw(opened.t, part, name).standard_normal(tuple(start.shape))
            total = total + _like(noise, total)
        return array_api_compat.array_namespace(start).astype(total, start.dtype, copy=False)

    start = pack(opened.broadcasts[ordered[0].client], _parts(ordered[0].message))
    mean = replace(
        start,
        factors={
            factor: {name: private(factor, name, array) for name, array in arrays.items()}
            for factor, arrays in start.factors.items()
        },
        head={name: private("head", name, array) for name, array in start.head.items()},
    )
    return [replace(update, message=mean) for update in updates]


def clipped(message: Message, start: ServerState, clip: float) -> Tensors:
    """The difference between what is sent and ``start``, in float64, scaled to an L2 norm of at most ``clip`` over all of it.

    A difference that is not longer is not scaled: its bits are its own.
    """
    found = difference(message, start)
    size = norm(found)
    if size <= clip:
        return found
    scale = clip / size * (1 - MARGIN)
    return {key: scale * array for key, array in found.items()}


def difference(message: Message, start: ServerState) -> Tensors:
    """Return the sent tensors less the broadcast ones, in float64."""
    starts = {(part, name): array for part, name, array in pack(start, _parts(message)).arrays()}
    return {(part, name): _wide(array) - _wide(starts[part, name]) for part, name, array in message.arrays()}


def norm(tensors: Tensors) -> float:
    """The L2 norm over all tensors together.

    Example:
        >>> norm({("A", "one"): np.array([[3.0]]), ("head", "bias"): np.array([0.0, 4.0])})
        5.0
    """
    return math.sqrt(sum(float(array_api_compat.array_namespace(x).sum(x * x)) for x in tensors.values()))


def _parts(message: Message) -> frozenset[str]:
    return frozenset(part for part, _, _ in message.arrays())


def _wide(array: Array) -> Array:
    xp = array_api_compat.array_namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def _like(values: np.ndarray, array: Array) -> Array:
    xp = array_api_compat.array_namespace(array)
    return xp.asarray(values, dtype=array.dtype, device=array_api_compat.device(array))
