"""One LoRA-adapted layer in the paper's orientation: x (W0 + A B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

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
        residual: what a method adds beside the product, (d, k); None where it adds nothing.

    Scale (``lora_alpha / r``) is not part of a layer: ``rolora.peft_boundary`` alone knows it.

    Example:
        >>> import numpy as np
        >>> Layer(np.ones((3, 1)), np.ones((1, 2))).update.shape
        (3, 2)
    """

    A: Float[Array, "*#batch d r"]
    B: Float[Array, "*#batch r k"]
    residual: Float[Array, "*#batch d k"] | None = None

    @property
    def update(self) -> Float[Array, "*batch d k"]:
        """The dense update A B + residual, (d, k)."""
        product = self.A @ self.B
        return product if self.residual is None else product + self.residual

    @property
    def rank(self) -> int:
        """r, the number of columns of A."""
        return self.A.shape[-1]
