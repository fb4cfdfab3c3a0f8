r"""Communication rounds of a whole ensemble at once: all instances and all clients in one array operation.

The order of the factors, the broadcast and the aggregation are those of ``rolora.algorithms``, called on layers with
leading instance axes; a client is a view along the client axis. Only the local update is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import array_api_compat
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms import ALGORITHMS, Algorithm
from theory.linear.ensemble import Ensemble

Data = Ensemble | Callable[[int], Ensemble]
"""One ensemble for all rounds, or the ensemble of round t where clients see fresh data."""

Participants = Callable[[int], Sequence[int]]
"""Which clients take part in round t; the same ones in every instance."""


CACHE = 6 * 2**20
"""Bytes of S_i that run together by default: small enough for a core's cache, large enough to be worth a call."""


SIMULATED = ("fedavg-lora", "ffa-lora", "rolora", "flexlora", "fedsvd", "lora-fair")
"""The methods whose whole state is two common factors, aggregated by weights that do not depend on the updates."""


@dataclass(frozen=True)
class LocalTraining:
    r"""A client's local update of the factors that are trainable in the round.

    .. math::
        A \leftarrow A - \eta_A \nabla_A \ell_i(A, B), \quad B \leftarrow B - \eta_B \nabla_B \ell_i(A, B)
        \qquad \text{(at the same point, ``local_steps`` times)},

    .. math::
        \nabla_A \ell_i = f (S_i A\, B B^T - C_i B^T), \qquad \nabla_B \ell_i = f (A^T S_i A\, B - A^T C_i).

    Args:
        eta_a: the step size of A; a number, or an array that broadcasts against the clients' A (instances, 1, 1, 1).
        eta_b: the step size of B, likewise; unused where B is solved for.
        local_steps: K >= 1.
        exact: the factors that are solved for instead, in rounds that train that factor alone. {"B"} with one step on A
            is Algorithm 2; {"A", "B"} is alternating least squares; the empty set is gradient descent on both.
    """

    eta_a: float | Array
    eta_b: float | Array = 0.0
    local_steps: int = 1
    exact: frozenset[str] = frozenset({"B"})

    def __call__(self, ensemble: Ensemble, start: Layer, trainable: frozenset[str]) -> Layer:
        """The clients' layers after their local updates.

        Args:
            ensemble: the clients that take part.
            start: what they received, with a client axis of length 1 or N before the matrix axes.
            trainable: the factors of this round.

        Returns:
            A layer whose trainable factors have a full client axis.
        """
        if trainable == {"B"} <= self.exact:
            return Layer(A=start.A, B=solve_b(ensemble, start.A))
        if trainable == {"A"} <= self.exact:
            return Layer(A=solve_a(ensemble, start.B), B=start.B)
        a, b, f = start.A, start.B, ensemble.gradient_factor
        for _ in range(self.local_steps):
            # Products are taken in the order that never forms a d x k matrix a client.
            projected, a_rows, b_columns = ensemble.moments @ a, _transposed(a), _transposed(b)
            if "A" in trainable:
                step_a = self.eta_a * f * (projected @ (b @ b_columns) - ensemble.cross @ b_columns)
            if "B" in trainable:
                step_b = self.eta_b * f * ((a_rows @ projected) @ b - a_rows @ ensemble.cross)
            a = a - step_a if "A" in trainable else a
            b = b - step_b if "B" in trainable else b
        return Layer(A=a, B=b)


def _transposed(matrix: Float[Array, "*batch d r"]) -> Float[Array, "*batch r d"]:
    return array_api_compat.array_namespace(matrix).matrix_transpose(matrix)


def solve_b(ensemble: Ensemble, a: Float[Array, "*batch d r"]) -> Float[Array, "*instances n r k"]:
    r"""The exact minimisers in B, :math:`B_i = (A^T S_i A)^{-1} A^T C_i`.

    Args:
        a: A with a client axis of length 1 or N; A^T S_i A must be invertible.

    Example:
        >>> import numpy as np
        >>> from theory.linear.ensemble import isotropic, planted
        >>> model = planted(isotropic(1, 2, 3), np.eye(3)[None, :, :1], np.ones((1, 2, 1, 2)), 2)
        >>> solve_b(model, np.full((1, 1, 3, 1), 1.0))[0, 0]
        array([[0.33333333, 0.33333333]])
    """
    xp = array_api_compat.array_namespace(a)
    projected = _transposed(a)
    gram, right = projected @ (ensemble.moments @ a), projected @ ensemble.cross
    return right / gram if gram.shape[-1] == 1 else xp.linalg.solve(gram, right)


def solve_a(ensemble: Ensemble, b: Float[Array, "*batch r k"]) -> Float[Array, "*instances n d r"]:
    r"""The exact minimisers in A, :math:`A_i = S_i^{-1} C_i B^T (B B^T)^{-1}`.

    Args:
        ensemble: the clients; every S_i invertible, so m >= d.
        b: B with a client axis of length 1 or N and full row rank.

    Example:
        >>> import numpy as np
        >>> from theory.linear.ensemble import isotropic, planted
        >>> model = planted(isotropic(1, 1, 2), np.eye(2)[None, :, :1], np.full((1, 1, 1, 1), 3.0), 2)
        >>> solve_a(model, np.ones((1, 1, 1, 1)))[0, 0].ravel()
        array([3., 0.])
    """
    xp = array_api_compat.array_namespace(b)
    right = _transposed(xp.linalg.solve(b @ _transposed(b), b @ _transposed(ensemble.cross)))
    return xp.linalg.solve(ensemble.moments, right)


def retract(layer: Layer) -> Layer:
    r"""Orthonormalise A and keep the product: :math:`A = Q R`, :math:`(A, B) \mapsto (Q, R B)`, R with a positive diagonal.

    At rank 1 this is :math:`(a / \|a\|,\ \|a\|\, b)`.

    Args:
        layer: A of full column rank, any leading axes.

    Example:
        >>> import numpy as np
        >>> retract(Layer(np.array([[3.0], [4.0]]), np.array([[2.0]]))).B
        array([[10.]])
    """
    xp = array_api_compat.array_namespace(layer.A)
    if layer.A.shape[-1] == 1:
        length = xp.sqrt(xp.sum(layer.A * layer.A, axis=-2, keepdims=True))
        return Layer(A=layer.A / length, B=length * layer.B)
    q, r = xp.linalg.qr(layer.A)
    diagonal = xp.linalg.diagonal(r)
    sign = xp.where(diagonal < 0, -xp.ones_like(diagonal), xp.ones_like(diagonal))
    return Layer(A=q * sign[..., None, :], B=(sign[..., :, None] * r) @ layer.B)


def rounds(
    data: Data,
    algorithm: Algorithm,
    start: Layer,
    training: LocalTraining,
    num_rounds: int,
    retracted: bool = False,
    participants: Participants | None = None,
    weights: Sequence[float] | None = None,
) -> Iterator[Layer]:
    """Communication rounds of an algorithm on every instance.

    Args:
        data: the clients' statistics.
        algorithm: one of ``rolora.algorithms.ALGORITHMS``.
        start: the server's layer before round 0, with the ensemble's instance axes.
        training: the clients' local update.
        retracted: orthonormalise A after every round that trains it (Algorithm 2).
        participants: who takes part in which round; everyone if it is None.
        weights: what each of the N clients counts for, positive; equal if None. They are normalised over a round's
            participants.

    Raises:
        ValueError: the method is not simulated here: it keeps something beside two common factors, or weighs clients by
            what they return.
    """
    if algorithm.name not in SIMULATED:
        raise ValueError(f"{algorithm.name} is not simulated on ensembles, only {', '.join(SIMULATED)}")
    server = start
    for t in range(num_rounds):
        ensemble = data(t) if callable(data) else data
        chosen = list(range(ensemble.num_clients)) if participants is None else sorted(participants(t))
        counts = [1.0 if weights is None else weights[client] for client in chosen]
        shares = [count / sum(counts) for count in counts]
        if participants is not None:
            ensemble = ensemble.of_clients(chosen)
        trainable = algorithm.trainable(t)
        received = algorithm.broadcast(t, server, server.rank)
        trained = training(ensemble, _with_client_axis(received), trainable)
        clients = [
            Layer(
                A=trained.A[..., index, :, :] if "A" in trainable else received.A,
                B=trained.B[..., index, :, :] if "B" in trainable else received.B,
            )
            for index in range(len(chosen))
        ]
        server = algorithm.aggregate(t, server, clients, shares)
        if retracted and "A" in trainable:
            server = retract(server)
        yield server


def _with_client_axis(layer: Layer) -> Layer:
    return Layer(A=layer.A[..., None, :, :], B=layer.B[..., None, :, :])


@dataclass(frozen=True)
class AltMinRuns:
    """The iterates of Algorithm 2 on every instance: A^0 ... A^T, and B-bar^1 ... B-bar^T (B-bar^{t+1} belongs to A^t)."""

    a: Float[Array, "*instances iterates d r"]
    b: Float[Array, "*instances iterations r k"]


def alternate(
    data: Data,
    start: Layer,
    training: LocalTraining,
    iterations: int,
    participants: Participants | None = None,
    weights: Sequence[float] | None = None,
) -> AltMinRuns:
    """RoLoRA's rounds in pairs, a B-round and an A-round with orthonormalised A, for any local training.

    Args:
        data: the clients' statistics, of all rounds or of round t.
        start: A^0 with orthonormal columns and B^0, with the ensemble's instance axes.
        training: what a client does in a round.
        iterations: T; iteration t is the rounds 2 t and 2 t + 1.
        participants: who takes part in which round; everyone if None.
        weights: one positive number a client; equal if None.

    Returns:
        A^0 ... A^T, and B^1 ... B^T as they were after their own round.

    Example:
        >>> import numpy as np
        >>> from theory.linear.ensemble import isotropic, planted
        >>> model = planted(isotropic(1, 2, 3), np.eye(3)[None, :, :1], np.ones((1, 2, 1, 2)), 2)
        >>> start = Layer(np.full((1, 3, 1), 3**-0.5), np.zeros((1, 1, 2)))
        >>> alternate(model, start, LocalTraining(0.1, local_steps=3), 4).a.shape
        (1, 5, 3, 1)
    """
    xp = array_api_compat.array_namespace(start.A)
    a, b = [start.A], list[Array]()
    run = rounds(data, ALGORITHMS["rolora"](), start, training, 2 * iterations, True, participants, weights)
    for t, layer in enumerate(run):
        (a if t % 2 else b).append(layer.A if t % 2 else layer.B)
    return AltMinRuns(xp.stack(a, axis=-3), xp.stack(b, axis=-3))


def block_size(ensemble: Ensemble) -> int:
    """Return the number of instances whose S_i fit ``CACHE``, at least one.

    Example:
        >>> import numpy as np
        >>> from theory.linear.ensemble import isotropic, planted
        >>> block_size(planted(isotropic(1, 20, 50), np.eye(50)[None, :, :1], np.ones((1, 20, 1, 1)), 2))
        15
    """
    *_, num_clients, dimension, _ = ensemble.moments.shape
    return max(1, CACHE // (8 * num_clients * dimension**2))


def alt_min_gd(
    data: Data,
    a0: Float[Array, "*instances d r"],
    eta: float | Float[Array, "*instances"],
    iterations: int,
    block: int | None = None,
) -> AltMinRuns:
    r"""Algorithm 2 (Alt-min-GD) on every instance, by RoLoRA's own file: B exactly, averaged; one step on A; orthonormalise.

    Args:
        data: one ensemble, or (iteration -> ensemble) for fresh data; an iteration is two rounds on the same data.
        a0: the starts, orthonormal columns; B starts at zero, which nothing depends on.
        eta: the step size, of all instances or of each; kappa = eta ||b*||^2 at rank 1.
        block: how many instances run together where the data stay the same, so that they stay in a core's cache too;
            as many as fit ``CACHE`` if left out.

    Example:
        >>> import numpy as np
        >>> from theory.linear.ensemble import isotropic, planted
        >>> model = planted(isotropic(5, 2, 3), np.eye(3)[None, :, :1], np.ones((5, 2, 1, 2)), 2)
        >>> alt_min_gd(model, np.full((5, 3, 1), 3**-0.5), 0.1, 4).a.shape
        (5, 5, 3, 1)

    Source: arXiv 2502.01755v4, Algorithm 2 (detail as recalled; unverified); at rank r > 1 the same with least squares
    and a QR retraction, defined here.
    """
    xp = array_api_compat.array_namespace(a0)
    instances = a0.shape[0]
    if block is None:
        block = block_size(data(0) if callable(data) else data)
    if a0.ndim == 3 and instances > block and isinstance(data, Ensemble):
        parts = [slice(first, first + block) for first in range(0, instances, block)]
        steps = [eta if isinstance(eta, int | float) else eta[part] for part in parts]
        runs = [
            alt_min_gd(data[part], a0[part], step, iterations, block) for part, step in zip(parts, steps, strict=True)
        ]
        return AltMinRuns(xp.concat([run.a for run in runs]), xp.concat([run.b for run in runs]))

    def of_round(t: int) -> Ensemble:
        return data(t // 2) if callable(data) else data

    step = eta if isinstance(eta, int | float) else eta[..., None, None, None]
    zero = xp.zeros_like(_transposed(a0) @ of_round(0).cross[..., 0, :, :])
    return alternate(of_round, Layer(A=a0, B=zero), LocalTraining(eta_a=step), iterations)


def subspace_distance(a: Float[Array, "*batch d r"], a_star: Float[Array, "*batch d r"]) -> Float[Array, "*batch"]:
    r"""The sine of the largest principal angle, :math:`\|(I - A A^T) A^*\|_{op}`, of orthonormal A and A*.

    Returns:
        A number in [0, 1], absolute accuracy a few units of rounding; ``geometry.angle_distance`` at rank 1.

    Example:
        >>> import numpy as np
        >>> float(subspace_distance(np.array([[0.6], [0.8]]), np.array([[1.0], [0.0]])).round(12))
        0.8
    """
    xp = array_api_compat.array_namespace(a)
    # Once more for the part that the first projection leaves by rounding: small sines keep their accuracy.
    rest = a_star - a @ (_transposed(a) @ a_star)
    if rest.shape[-1] == 1:
        return xp.sqrt(xp.sum(rest * rest, axis=(-2, -1)))
    return xp.linalg.svdvals(rest)[..., 0]
