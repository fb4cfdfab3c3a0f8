r"""Draws of FFA-LoRA's loss at the frozen start, for the claims on its floor.

In the plane of :math:`a^0` and :math:`a^*` the floor does not depend on d, so two coordinates are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from rolora.keys import Key
from theory.linear.model import second_moments

CLIENTS, SAMPLES, DELTA0, DRAWS = 3, (7, 12), 0.7, 150_000  # from m = 7 the variance of xi^2 is finite
A_STAR, A0 = np.eye(2)[0], np.array([np.sqrt(1 - DELTA0**2), DELTA0])
LENGTH = 1.5
"""||b*||."""

Moments = Float[np.ndarray, "draws clients 2 2"]
Losses = Float[np.ndarray, " draws"]


def rho(moments: Float[np.ndarray, "*draws 2 2"]) -> Float[np.ndarray, "*draws"]:
    r"""The exact b-step :math:`b = \rho b^*` at :math:`a^0`: :math:`\rho = (a^{0T} S a^*)/(a^{0T} S a^0)`."""
    projected = moments @ A0
    return (projected @ A_STAR) / (projected @ A0)


def residual(rho: Losses) -> Float[np.ndarray, "draws 2"]:
    r"""The direction of the product's error, :math:`\rho a^0 - a^*`."""
    return rho[:, None] * A0 - A_STAR


def excesses(key: Key, loss: Callable[[Moments], Losses]) -> Iterator[tuple[int, Losses]]:
    r"""Yield m and draws of :math:`\ell/(\|b^*\|^2\delta_0^2) - 1` for each m of ``SAMPLES``.

    Args:
        loss: the second moments S_i of all clients -> the loss of each draw.
    """
    for m in SAMPLES:
        moments = second_moments(key.fold("m", m).generator().standard_normal((DRAWS, CLIENTS, m, 2)))
        yield m, loss(moments) / (LENGTH**2 * DELTA0**2) - 1
