"""Robust aggregation: a trimmed mean or the median in place of the mean, for any method that averages what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rolora.adapter import FACTORS, Array, Layer
from rolora.algorithms.base import AVERAGING, WrappedAlgorithm
from rolora.algorithms.means import median, trimmed_mean
from rolora.errors import InputError

KINDS = ("trimmed_mean", "median")


@dataclass(frozen=True)
class RobustAggregation(WrappedAlgorithm):
    r"""The method's own step on what all clients would have sent, had each sent the middle of them (arXiv 1803.01498).

    For a factor X that the round has trained,

    .. math::
        \bar X = \operatorname{median}_i X_i \quad\text{or}\quad \operatorname{trimmed\ mean}_i X_i, \quad
        \text{entry by entry},

    and the method takes the mean of equal things, :math:`\sum_i p_i \bar X = \bar X`. The head is treated alike. Clients count
    once, whatever they weigh: a weight is what a client says of itself. RoLoRA and FFA-LoRA keep a common frozen factor, so
    the update is that factor times the middle of the other; it is no longer the mean update, not even for them.

    Args:
        inner: the method.
        kind: "trimmed_mean" or "median".
        fraction: of the clients, cut at either end; for the trimmed mean alone.

    Example:
        >>> import numpy as np
        >>> from rolora.algorithms.ffa_lora import FFALoRA
        >>> server = Layer(np.ones((2, 1)), np.zeros((1, 2)))
        >>> clients = [Layer(server.A, x * np.ones((1, 2))) for x in (1.0, 2.0, 1e6)]
        >>> RobustAggregation(FFALoRA(), "median").aggregate(0, server, clients, [1 / 3] * 3).B
        array([[2., 2.]])
    """

    kind: str
    fraction: float | None = None

    exactness = "the middle of the clients' factors is not their mean"

    def __post_init__(self) -> None:
        """Refuse methods that take more than a mean."""
        if self.kind not in KINDS or (self.kind == "trimmed_mean") != (self.fraction is not None):
            raise InputError(
                f"got {self.kind!r} with fraction {self.fraction}, expected median, or trimmed_mean with one"
            )
        if self.inner.name not in AVERAGING:
            raise InputError(
                f'federation.aggregation is "{self.kind}", expected "mean" with {self.inner.name}: its server takes more than '
                f"the mean of each factor that is sent; methods that allow another are {', '.join(AVERAGING)}"
            )

    def mean(self, arrays: Sequence[Array], weights: Sequence[float]) -> Array:
        """Return the median or trimmed mean of the arrays; weights are ignored."""
        return median(arrays) if self.fraction is None else trimmed_mean(arrays, self.fraction)

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """Return the wrapped method's aggregate of the one robust layer."""
        sent = sorted(set(FACTORS) & self.inner.sent(t))
        middle = {factor: self.mean([getattr(client, factor) for client in clients], weights) for factor in sent}
        return self.inner.aggregate(t, server, [replace(server, **middle)], [1.0])
