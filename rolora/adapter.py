"""One LoRA-adapted layer in the paper's orientation: x (W0 + A B)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import matmul
from typing import Any

import numpy as np
from jaxtyping import Float

from rolora.keys import Key

Array = Any
"""Any array of the array API standard: NumPy, torch (a GPU's too), array_api_strict."""

FACTORS = ("A", "B")
"""The names of the two factors, as they appear in records, messages and configs."""


@dataclass(frozen=True)
class Layer:
    r"""The low-rank update of one weight matrix, :math:`\Delta W = A B + R` (arXiv 2502.01755v4, section 3).

    Args:
        A: the down-projection, (d, r); leading batch axes are allowed, and broadcast against those of B.
        B: the up-projection, (r, k).
        residual: R, what a method has added beside the product since the start, (d, k); None where it adds nothing.
        increment: what the last aggregation added to R, as the matrices whose product it is: (d, q) and (q, k), or one
            (d, k) where that is smaller. It is what a client is sent that holds the R before.
        memory: what the server keeps from round to round beside the model (momentum, for instance), name -> array. It is
            never broadcast. Empty for a method that needs none.

    Scale (``lora_alpha / r``) is not part of a layer: ``rolora.models.peft_boundary`` alone knows it.

    Example:
        >>> Layer(np.ones((3, 1)), np.ones((1, 2))).update.shape
        (3, 2)
    """

    A: Float[Array, "*#batch d r"]
    B: Float[Array, "*#batch r k"]
    residual: Float[Array, "*#batch d k"] | None = None
    increment: tuple[Float[Array, "..."], ...] | None = None
    memory: Mapping[str, Array] = field(default_factory=dict)

    @property
    def update(self) -> Float[Array, "*batch d k"]:
        """The dense update A B + residual, (d, k)."""
        product = self.A @ self.B
        return product if self.residual is None else product + self.residual

    @property
    def rank(self) -> int:
        """r, the number of columns of A."""
        return self.A.shape[-1]


def product_of(matrices: tuple[Float[Array, "..."], ...]) -> Float[Array, "*batch d k"]:
    """The product of an increment's matrices.

    Example:
        >>> product_of((np.ones((3, 1)), np.ones((1, 2)))).shape
        (3, 2)
    """
    return reduce(matmul, matrices)


def smaller_form(left: Float[Array, "*batch d q"], right: Float[Array, "*batch q k"]) -> tuple[Array, ...]:
    """An increment in the form that has fewer entries: (left, right), or their product alone.

    Example:
        >>> [part.shape for part in smaller_form(np.ones((9, 2)), np.ones((2, 9)))]
        [(9, 2), (2, 9)]
        >>> [part.shape for part in smaller_form(np.ones((3, 2)), np.ones((2, 3)))]
        [(3, 3)]
    """
    (d, q), k = left.shape[-2:], right.shape[-1]
    return (left, right) if q * (d + k) < d * k else (left @ right,)


def first_down_projection(key: Key, dimension: int, rank: int) -> Float[np.ndarray, "d r"]:
    r"""A^0, entry by entry uniform in :math:`\pm 1/\sqrt d`, the range of PEFT's own initialiser.

    Args:
        key: the layer's stream.
        dimension: d.
        rank: r.

    Returns:
        float32 numbers.

    Example:
        >>> bool(abs(first_down_projection(Key(0), 100, 4)).max() <= 0.1)
        True
    """
    bound = 1 / np.sqrt(dimension)
    return key.generator().uniform(-bound, bound, size=(dimension, rank)).astype(np.float32)
