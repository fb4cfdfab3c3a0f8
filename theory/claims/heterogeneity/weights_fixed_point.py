r"""With different heads, weights decide which product RoLoRA ends at.

**Statement.** In the population, with weights p_i that sum to one, RoLoRA's dynamics are those of the one head
:math:`\bar b_p^* = \sum_i p_ib_i^*`: the angle follows the rank-one map with :math:`\kappa = \eta\|\bar b_p^*\|^2`, and the product
tends to :math:`a^*\bar b_p^{*T}`, with the error :math:`\sin\theta_t\,\|\bar b_p^*\|` after the t-th B-round.

**Assumptions.** S_i = I, by construction; :math:`0 < f\kappa < 1`, measured per instance.

**Direction.** Tight.

**Source.** Derived here; equal weights are the claim heterogeneous-limit.

**Derivation.** The weighted b-step is :math:`c\,\bar b_p^*` and the weighted gradient
:math:`f(a\|\bar b\|^2 - a^*\,\bar b_p^{*T}\bar b)`. At equal heads weights change nothing. A client of small weight is not
averaged out but left out: its own product error stays :math:`\|b_i^* - \bar b_p^*\|`.

**Control.** The unweighted mean head in the place of the weighted one.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.local_steps import population_step
from theory.linear.rank_r import random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, equal

CLIENTS, DIMENSION, OUTPUTS, INSTANCES, KAPPA, ITERATIONS = 4, 6, 3, 10, 0.35, 80
WEIGHTS = ((1.0, 1.0, 1.0, 1.0), (1.0, 2.0, 3.0, 4.0), (50.0, 1.0, 1.0, 1.0))


def _instances(key: Key, weights: tuple[float, ...], unweighted: bool) -> Instances:
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, [1.0])
    heads = b_star[:, None] + 0.3 * key.fold("heads").generator().standard_normal((INSTANCES, CLIENTS, 1, OUTPUTS))
    share = np.full(CLIENTS, 1 / CLIENTS) if unweighted else np.asarray(weights) / sum(weights)
    mean = np.sum(share[:, None, None] * heads, axis=1)
    eta = KAPPA / np.sum(np.mean(heads, axis=1) ** 2, axis=(1, 2))
    kappa = eta * np.sum(mean**2, axis=(1, 2))
    theta = key.fold("theta").generator().uniform(0.1, 1.3, INSTANCES)
    training = LocalTraining(eta[:, None, None, None])
    a0 = start_at(key.fold("a0"), a_star, np.ones((1, 1, 1)), theta[:, None])
    for factor in (1, 2):
        ensemble = planted(isotropic(INSTANCES, CLIENTS, DIMENSION), a_star, heads, factor)
        run = alternate(ensemble, Layer(a0, np.zeros_like(mean)), training, ITERATIONS, weights=weights)
        first = subspace_distance(run.a[:, 1], a_star)
        stated = np.abs(np.sin(population_step(theta, kappa, 1, factor)))
        left = theta
        for _ in range(ITERATIONS - 1):
            left = np.abs(population_step(left, kappa, 1, factor))
        for i in range(INSTANCES):
            where, met = f"weights {weights}, f={factor}, kappa={kappa[i]:.2f}", bool(0 < factor * kappa[i] < 1)
            slack = 10 * DIMENSION * EPS * float(1 + np.sum(heads[i] ** 2))
            yield equal(float(first[i]), float(stated[i]), slack, f"sine after one iteration, {where}", met)
            product = run.a[i, -2] @ run.b[i, -1]
            # What the rank-one map leaves of the angle after all iterations is the product's error, and tends to 0.
            error, rest = np.linalg.norm(product - a_star[i] @ mean[i]), np.sin(left[i]) * np.linalg.norm(mean[i])
            yield equal(float(error), float(rest), slack, f"product's error, {where}", met)


def check(key: Key) -> Instances:
    """Three choices of weights, both conventions."""
    return (i for n, w in enumerate(WEIGHTS) for i in _instances(key.fold("weights", n), w, False))


def control(key: Key) -> Instances:
    """The unweighted mean head."""
    return _instances(key, WEIGHTS[1], True)


CLAIM = Statement(
    source="derived here; client weights in Algorithm 2, arXiv 2502.01755v4",
    kind="identity",
    statement="weights p_i, population: RoLoRA moves as with the one head sum p_i b_i*, and ends at a* (sum p_i b_i*)^T",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
