"""RoLoRA: the two factors take turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean
from rolora.errors import InputError


@dataclass(frozen=True)
class RoLoRA(Algorithm):
    r"""Alternate: B is trained and averaged in even rounds, A in odd ones (arXiv 2502.01755v4, Algorithm 1).

    .. math::
        t \text{ even}: \quad B^{t+1} = \sum_i p_i B_i, \quad A^{t+1} = A^t \\
        t \text{ odd}:  \quad A^{t+1} = \sum_i p_i A_i, \quad B^{t+1} = B^t

    Exact in every round, because the factor that is not trained is common:
    :math:`\sum_i p_i A B_i = A \bar B` and :math:`\sum_i p_i A_i B = \bar A B` (equations 3 and 4). The paper counts
    rounds from 1, so its odd rounds are the even ones here: B goes first in both, because at B = 0 the gradient with
    respect to A vanishes.

    Args:
        schedule: which factor round t trains, the t-th letter, repeated for ever. "BA" is the paper's; "AB" begins with a
            void round; "BBA" gives B two rounds for each of A; a schedule with rare A mixes RoLoRA's rounds among those
            of FFA-LoRA (the paper's Figure 5: "BABBBBBBBB" has a tenth of its rounds train A).

    Example:
        >>> import numpy as np
        >>> server = Layer(np.eye(2), np.zeros((2, 2)))
        >>> clients = [Layer(server.A, np.eye(2)), Layer(server.A, 3 * np.eye(2))]
        >>> RoLoRA().aggregate(0, server, clients, [0.5, 0.5]).update
        array([[2., 0.], [0., 2.]])
    """

    name = "rolora"
    averages = True
    schedule: str = "BA"

    def __post_init__(self) -> None:
        """Refuse a schedule that is not made of the two letters."""
        if not self.schedule or set(self.schedule) - {"A", "B"}:
            raise InputError(f"schedule: got {self.schedule!r}, expected letters A and B, for example BA")

    def trainable(self, t: int) -> frozenset[str]:
        """The factor whose turn it is."""
        return frozenset(self.schedule[t % len(self.schedule)])

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of the factor that was trained beside the server's own other factor."""
        if "B" in self.trainable(t):
            return Layer(A=server.A, B=weighted_mean([client.B for client in clients], weights))
        return Layer(A=weighted_mean([client.A for client in clients], weights), B=server.B)
