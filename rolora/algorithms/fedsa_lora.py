"""FedSA-LoRA: A is shared, every client keeps a B of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean


@dataclass(frozen=True)
class FedSALoRA(Algorithm):
    r"""Both factors are trained; only A is sent and averaged (Guo et al., arXiv 2410.01463).

    .. math::
        A^{t+1} = \sum_i p_i A_i, \qquad B_i^{t+1} \text{ stays with client } i

    A client starts the next round that it takes part in from the server's A and from the B that it kept. There is no one
    model: the server's B stays at its start, and evaluation is over the clients' own models.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.array([[1.0], [0.0]]), np.ones((1, 2))), Layer(np.array([[0.0], [1.0]]), np.ones((1, 2)))]
        >>> server = Layer(np.zeros((2, 1)), np.zeros((1, 2)))
        >>> layer = FedSALoRA().aggregate(0, server, clients, [0.5, 0.5])
        >>> layer.A.ravel(), layer.B.ravel()
        (array([0.5, 0.5]), array([0., 0.]))
    """

    name = "fedsa-lora"
    exactness = "there is no common model"
    exceptions: ClassVar = {law: "every client keeps its own B: there is no common model" for law in (1, 3, 4)}
    personal = frozenset({"B"})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of A beside the server's own B."""
        return replace(server, A=weighted_mean([client.A for client in clients], weights))
