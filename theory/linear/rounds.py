"""Communication rounds on the linear model, through the algorithm files that also fine-tune language models.

A client's local update is NumPy; broadcast, aggregation and the order of the factors are those of ``rolora.federation``
and ``rolora.algorithms``. Nothing of an algorithm is written here a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.federation import ClientUpdate, LocalUpdate, RoundReport, ServerState, run_round
from rolora.federation.communication import Ledger, Message
from rolora.keys import Key
from theory.linear.geometry import normalise, start_at
from theory.linear.model import (
    GradientFactor,
    LinearModel,
    b_step,
    gradient_a,
    gradient_b,
    loss,
    population,
    random_truth,
)

LAYER = "linear"
"""The name of the only adapted layer: A is a as a column, B is b^T as a row, W0 = 0."""


def local_update(model: LinearModel, eta: float, local_steps: int = 1, exact_b: bool = True) -> LocalUpdate:
    r"""Return a client's local update, for any of the algorithms.

    .. math::
        a \leftarrow a - \eta \nabla_a \ell_i, \qquad b \leftarrow b - \eta \nabla_b \ell_i \qquad
        \text{(at the same point, the trainable ones, local_steps times)}

    Args:
        local_steps: K, gradient steps a round.
        exact_b: solve for b instead, in rounds that train b alone; with one step on a this is Algorithm 2.

    Returns:
        A local update for ``rolora.federation.round.run_round``; all clients weigh the same.
    """

    def update(t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
        layer = broadcast.layers[LAYER]
        a, b = layer.A[:, 0], layer.B[0]
        if exact_b and trainable == {"B"}:
            b = b_step(model, client, a)
        else:
            for _ in range(local_steps):
                step_a = gradient_a(model, client, a, b) if "A" in trainable else 0.0
                step_b = gradient_b(model, client, a, b) if "B" in trainable else 0.0
                a, b = a - eta * step_a, b - eta * step_b
        factors = {"A": a[:, None], "B": b[None, :]}
        message = Message({factor: {LAYER: factors[factor]} for factor in sorted(trainable)})
        return ClientUpdate(client, t, 1.0, message, loss(model, client, a, b))

    return update


def retract(layer: Layer) -> Layer:
    r"""Normalise a and move its length to b: :math:`(a, b) \mapsto (a/\|a\|,\ \|a\|\, b)`.

    The product is unchanged. Algorithm 2 solves for b afresh in the next round, so b's new length changes no later
    iterate; it only keeps the product that the server holds meaningful between the two rounds.

    Args:
        layer: a as (d, 1), not zero, and b^T as (1, k).

    Example:
        >>> retract(Layer(np.array([[3.0], [4.0]]), np.array([[2.0]]))).B
        array([[10.]])
    """
    unit = normalise(layer.A[:, 0])[:, None]
    return Layer(A=unit, B=np.linalg.norm(layer.A) * layer.B)


def rounds(
    model: LinearModel,
    algorithm: Algorithm,
    start: Layer,
    update: LocalUpdate,
    num_rounds: int,
    retracted: bool = False,
) -> Iterator[tuple[Layer, RoundReport]]:
    """Communication rounds of an algorithm on the model, through ``rolora.federation.round.run_round``.

    Args:
        model: the clients, all of which take part in every round.
        algorithm: one of ``rolora.algorithms.ALGORITHMS``.
        start: the server's layer before round 0.
        update: the clients' local update.
        retracted: normalise a after every round that trains it (Algorithm 2).
    """
    server, ledger = ServerState({LAYER: start}), Ledger()
    for t in range(num_rounds):
        server, ledger, report = run_round(t, server, algorithm, range(model.num_clients), update, ledger)
        if retracted and "A" in report.trained:
            server = ServerState({LAYER: retract(server.layers[LAYER])})
        yield server.layers[LAYER], report


@dataclass(frozen=True)
class AltMinRun:
    """The iterates of Algorithm 2: a^0 ... a^T, and b-bar^1 ... b-bar^T (b-bar^{t+1} belongs to a^t)."""

    a: Float[Array, "iterates d"]
    b: Float[Array, "iterations k"]


def alt_min_gd(model: LinearModel, a0: Float[Array, "d"], eta: float, iterations: int) -> AltMinRun:
    r"""Algorithm 2 (Alt-min-GD) by RoLoRA's own file: b exactly, averaged; one averaged gradient step on a; normalise.

    .. math::
        \bar b^{t+1} = \frac1N \sum_i \arg\min_b \ell_i(a^t, b), \qquad
        a^{t+1} = \mathrm{normalise}\Big(a^t - \frac{\eta}{N} \sum_i \nabla_a \ell_i(a^t, \bar b^{t+1})\Big)

    Args:
        a0: the start, a unit vector; b starts at zero, which nothing depends on.
        eta: the step size; kappa = eta ||b*||^2.
        iterations: T; each is two communication rounds.

    Example:
        >>> from theory.linear.model import population
        >>> model = population(2, np.array([1.0, 0.0]), np.ones(1), 2)
        >>> run = alt_min_gd(model, np.array([0.6, 0.8]), 0.5, 3)
        >>> run.a.shape, run.b.shape
        ((4, 2), (3, 1))

    Source: arXiv 2502.01755v4, Algorithm 2 (detail as recalled; unverified).
    """
    start = Layer(a0[:, None], np.zeros((1, model.b_star.shape[1])))
    algorithm = ALGORITHMS["rolora"]()
    a, b = [a0], []
    for layer, report in rounds(model, algorithm, start, local_update(model, eta), 2 * iterations, retracted=True):
        if "A" in report.trained:
            a.append(layer.A[:, 0])
        else:
            b.append(layer.B[0])
    return AltMinRun(np.stack(a), np.stack(b))


def signed_angles(
    key: Key, instances: int, num_clients: int, dimension: int, gradient_factor: GradientFactor
) -> Iterator[tuple[float, float, float]]:
    """Yield theta, kappa and the angle after one iteration in the population, for random theta, kappa and truth.

    The angle is taken in the plane of a0 and a*, positive on the side of a0.
    """
    for number in range(instances):
        draw = key.fold("instance", number)
        a_star, b_star = random_truth(draw.fold("truth"), dimension, 3)
        stream = draw.generator()
        theta, kappa = float(stream.uniform(0.01, 1.5)), float(stream.uniform(0.05, 1.5))
        a0 = start_at(draw.fold("a0"), a_star, float(np.sin(theta)))
        model = population(num_clients, a_star, b_star, gradient_factor)
        after = alt_min_gd(model, a0, kappa / float(b_star @ b_star), 1).a[-1]
        side = a0 - (a0 @ a_star) * a_star
        yield theta, kappa, float(np.arctan2(after @ side / np.linalg.norm(side), after @ a_star))


def relative_error(layer: Layer, model: LinearModel) -> float:
    r"""The product's error :math:`\|A B - a^* \bar b^{*T}\|_F / \|\bar b^*\|`, with the mean of the b_i*.

    Args:
        layer: the server's layer.

    Returns:
        1 for the zero update, 0 at the truth; absolute accuracy a few units of rounding.

    Example:
        >>> from theory.linear.model import population
        >>> model = population(1, np.array([1.0, 0.0]), np.ones(1), 2)
        >>> relative_error(Layer(np.zeros((2, 1)), np.zeros((1, 1))), model)
        1.0
    """
    truth = np.outer(model.a_star, model.b_mean)
    return float(np.linalg.norm(layer.update - truth) / np.linalg.norm(model.b_mean))
