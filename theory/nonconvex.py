r"""A smooth objective that is not convex, its block smoothness known, and RoLoRA's rounds of SGD on it.

.. math::
    f_i(A, B) = \sum_j c_{ij}\,\big(1 - \cos(\langle U_{ij}, A\rangle + \langle V_{ij}, B\rangle + \varphi_{ij})\big),
    \qquad f = \frac1N\sum_i f_i, \quad c_{ij} > 0

The Hessian in A is :math:`\frac1N\sum c_{ij}\cos(\cdot)\,\mathrm{vec}U_{ij}\,\mathrm{vec}U_{ij}^T`, so f is block smooth everywhere with
:math:`L_A = \|\frac1N\sum c_{ij}\,\mathrm{vec}U_{ij}\,\mathrm{vec}U_{ij}^T\|`, likewise in B, and :math:`0 \le f`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms import Algorithm
from rolora.keys import Key

Block = Literal["A", "B"]


@dataclass(frozen=True)
class Waves:
    r"""The objective above, one an instance.

    Args:
        weights: c_ij > 0.
        u: U_ij.
        v: V_ij.
        phases: varphi_ij.
    """

    weights: Float[Array, "i n j"]
    u: Float[Array, "i n j d r"]
    v: Float[Array, "i n j r k"]
    phases: Float[Array, "i n j"]

    @property
    def num_clients(self) -> int:
        """N."""
        return self.weights.shape[1]

    def _angles(self, layer: Layer) -> Float[Array, "i n j"]:
        of_a = np.einsum("injdr,idr->inj", self.u, layer.A)
        return of_a + np.einsum("injrk,irk->inj", self.v, layer.B) + self.phases

    def value(self, layer: Layer) -> Float[Array, "i"]:
        """f, at least zero."""
        return np.mean(np.sum(self.weights * (1 - np.cos(self._angles(layer))), axis=-1), axis=-1)

    def gradients(self, layer: Layer, block: Block) -> Float[Array, "i n p q"]:
        """Every client's gradient in one block."""
        pull = self.weights * np.sin(self._angles(layer))
        return np.einsum("inj,injpq->inpq", pull, self.u if block == "A" else self.v)

    def smoothness(self, block: Block) -> Float[Array, "i"]:
        r"""L_A or L_B, the norm of :math:`\frac1N\sum c_{ij}\,\mathrm{vec}\,\mathrm{vec}^T`; attained where all cosines are 1."""
        waves = self.u if block == "A" else self.v
        instances, clients, terms = self.weights.shape
        rows = np.sqrt(self.weights)[..., None] * waves.reshape(instances, clients, terms, -1)
        hessian = np.einsum("injp,injq->ipq", rows, rows) / clients
        return np.linalg.norm(hessian, 2, axis=(-2, -1))


def random_waves(
    key: Key, objectives: int, runs: int, num_clients: int, waves: int, size: tuple[int, int, int], equal: bool = False
) -> tuple[Waves, Layer]:
    """Objectives with normal U and V, uniform weights and phases, and a start for each.

    Args:
        objectives: how many.
        runs: how often each is repeated among the instances, for independent noise.
        waves: terms a client.
        size: d, r, k.
        equal: all clients have one function, so that their number changes the noise alone.

    Returns:
        The objectives, those of one draw next to each other, and normal starts.

    Example:
        >>> objective, start = random_waves(Key(0), 2, 3, 5, 4, (3, 1, 2))
        >>> objective.gradients(start, "B").shape
        (6, 5, 1, 2)
    """
    stream, (d, r, k) = key.generator(), size
    drawn = 1 if equal else num_clients
    arrays = (
        stream.uniform(0.2, 1.0, (objectives, drawn, waves)),
        stream.standard_normal((objectives, drawn, waves, d, r)),
        stream.standard_normal((objectives, drawn, waves, r, k)),
        stream.uniform(-np.pi, np.pi, (objectives, drawn, waves)),
    )
    repeated = [np.broadcast_to(array, (objectives, num_clients, *array.shape[2:])) for array in arrays]
    factors = stream.standard_normal((objectives, d, r)), stream.standard_normal((objectives, r, k))
    return Waves(*(np.repeat(array, runs, axis=0) for array in repeated)), Layer(
        *(np.repeat(factor, runs, axis=0) for factor in factors)
    )


def sgd_rounds(
    objective: Waves,
    algorithm: Algorithm,
    start: Layer,
    eta: Float[Array, "i"],
    noise: float,
    key: Key,
    num_rounds: int,
    common_noise: bool = False,
) -> Iterator[Layer]:
    r"""Rounds of one stochastic gradient step a client, all instances at once.

    Args:
        objective: the clients' functions.
        algorithm: which factor moves, what is broadcast and how it is averaged.
        start: the server's layer.
        noise: sigma; a client's gradient error is normal with :math:`E\|\cdot\|_F^2 = \sigma^2`.
        common_noise: all clients of a round have the same error; independent ones otherwise.
    """
    stream, server = key.generator(), start
    clients = objective.num_clients
    for t in range(num_rounds):
        received = algorithm.broadcast(t, server, server.rank)
        moved = {}
        for block in sorted(algorithm.trainable(t)):
            gradient = objective.gradients(received, block)
            shape = (len(gradient), 1 if common_noise else clients, *gradient.shape[2:])
            error = stream.standard_normal(shape) * (noise / np.sqrt(shape[2] * shape[3]))
            moved[block] = getattr(received, block)[:, None] - eta[:, None, None, None] * (gradient + error)
        updates = [
            Layer(
                A=moved["A"][:, client] if "A" in moved else received.A,
                B=moved["B"][:, client] if "B" in moved else received.B,
            )
            for client in range(clients)
        ]
        server = algorithm.aggregate(t, server, updates, [1 / clients] * clients)
        yield server


def stationarity(
    objective: Waves,
    algorithm: Algorithm,
    start: Layer,
    eta: Float[Array, "i"],
    noise: float,
    key: Key,
    iterations: int,
    common_noise: bool = False,
) -> Float[Array, "i"]:
    r"""The left-hand side :math:`\frac1T\sum_t \|\nabla_B f(A^t, B^t)\|^2 + \|\nabla_A f(A^t, B^{t+1})\|^2` of every instance.

    Args:
        algorithm: RoLoRA, which trains B in even rounds and A in odd ones.
        start: as in ``sgd_rounds``.
        iterations: T; each is two rounds.
        common_noise: as in ``sgd_rounds``.
    """
    server, total = start, np.zeros(start.A.shape[0])
    rounds = sgd_rounds(objective, algorithm, start, eta, noise, key, 2 * iterations, common_noise)
    for t, after in enumerate(rounds):
        gradient = np.mean(objective.gradients(server, "A" if t % 2 else "B"), axis=1)
        total += np.sum(gradient**2, axis=(-2, -1))
        server = after
    return total / iterations


def stationarity_bound(
    objective: Waves, start: Layer, eta: Float[Array, "i"], noise: float, iterations: int
) -> Float[Array, "i"]:
    r"""The right-hand side :math:`\frac{2 f^0}{\eta T} + (L_A + L_B)\frac{\eta\sigma^2}{N}`, as :math:`f^* \ge 0`.

    Args:
        start: where f^0 is taken.
        eta: the step, at most 1/L_A and 1/L_B.
        noise: sigma, of one client and block.
    """
    smooth = objective.smoothness("A") + objective.smoothness("B")
    return 2 * objective.value(start) / (eta * iterations) + smooth * eta * noise**2 / objective.num_clients


def best_eta(objective: Waves, start: Layer, noise: float, iterations: int) -> Float[Array, "i"]:
    r"""The step that minimises the bound, :math:`\sqrt{2 f^0 N/((L_A + L_B)\sigma^2 T)}`, or the end of its range.

    Args:
        start: where f^0 is taken.
        noise: sigma > 0.

    Returns:
        A step; inside the range the bound is :math:`2\sqrt{2 f^0 (L_A + L_B)\sigma^2/(N T)}`.
    """
    l_a, l_b = objective.smoothness("A"), objective.smoothness("B")
    free = np.sqrt(2 * objective.value(start) * objective.num_clients / ((l_a + l_b) * noise**2 * iterations))
    return np.minimum(free, 1 / np.maximum(l_a, l_b))
