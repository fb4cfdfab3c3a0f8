r"""In the population, K local steps on A give the K-th power of the local ratio.

**Statement.** With the exact b-step and K local gradient steps on a, one iteration in the population is

.. math::
    \tan\theta^+ = \tan\theta\,\frac{q\cos^2\theta}{1 - q\sin^2\theta}, \qquad q = (1 - f\kappa\cos^2\theta)^K,

so :math:`\delta_{t+1}/\delta_t \to |1 - f\kappa|^K`: K local steps replace K iterations near a*, not far from it, where b-bar
is held too short for all K steps. As q -> 0 one iteration is exact.

**Assumptions.** S_i = I, by construction; any kappa >= 0.

**Direction.** Tight.

**Source.** Derived here; K = 1 is the claim population-map.

**Derivation.** With :math:`\bar b = c\,b^*`, :math:`c = \cos\theta`, the steps on a are
:math:`a \leftarrow a - f\kappa c^2(a - a^*/c)`, so after K of them :math:`a' = a^*/c + q\,(a - a^*/c)`: orthogonal to a* it has
:math:`q\sin\theta`, along a* :math:`(1 - q)/c + qc = (1 - q\sin^2\theta)/c`.

**Control.** One step of K times the length, the map of K = 1 with :math:`K\kappa`.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear import bounds
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate
from theory.linear.local_steps import population_step
from theory.linear.rank_r import random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, equal

INSTANCES, DIMENSION, OUTPUTS = 30, 6, 3
LOCAL_STEPS, KAPPAS = (1, 2, 5, 20), (0.02, 0.2, 0.45, 0.8)
SMALL = 1e-6  # a start so near a* that the ratio is the local one, to SMALL^2


def _instances(key: Key, local_steps: int, longer_step: bool) -> Instances:
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, [1.0])
    theta = key.fold("theta").generator().uniform(0.05, 1.5, INSTANCES)
    theta[0] = SMALL
    a0 = start_at(key.fold("a0"), a_star, np.ones((1, 1, 1)), theta[:, None])
    side = a0 - a_star * (np.swapaxes(a_star, 1, 2) @ a0)
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    for factor in (1, 2):
        model = planted(isotropic(INSTANCES, 1, DIMENSION), a_star, b_star[:, None], factor)
        for kappa in KAPPAS:
            after = alternate(model, Layer(a0, b_star), LocalTraining(kappa, local_steps=local_steps), 1).a[:, -1]
            measured = np.arctan2(np.sum(after * side, axis=(1, 2)), np.sum(after * a_star, axis=(1, 2)))
            predicted = population_step(theta, kappa, local_steps, factor)
            if longer_step:
                predicted = bounds.population_step(theta, local_steps * kappa, factor)
            for i in range(INSTANCES):
                # K steps of rounding; the side's direction is a difference of size sin, the tangent grows like 1/cos.
                size = local_steps * DIMENSION * (1 + kappa) / (np.sin(theta[i]) * np.cos(theta[i]) ** 2)
                where = f"K={local_steps}, kappa={kappa}, f={factor}, theta={theta[i]:.3g}"
                yield equal(float(measured[i]), float(predicted[i]), EPS * float(size), where)
                if i == 0 and not longer_step:
                    local = float(bounds.local_ratio(kappa, factor)) ** local_steps
                    remainder = local_steps * (1 + factor * kappa) ** local_steps * SMALL**2
                    ratio = abs(float(measured[0])) / SMALL
                    yield equal(ratio, local, EPS * float(size) / SMALL + remainder, f"ratio, {where}")


def check(key: Key) -> Instances:
    """Both conventions, K up to 20, angles up to 1.5 and close to 0."""
    return (i for count in LOCAL_STEPS for i in _instances(key.fold("K", count), count, False))


def control(key: Key) -> Instances:
    """One longer step in the place of five."""
    return _instances(key, 5, True)


CLAIM = Statement(
    source="derived here; K local steps in the place of Algorithm 2's one, arXiv 2502.01755v4",
    kind="identity",
    statement="K local steps: tan theta+ = tan theta q cos^2 / (1 - q sin^2), q = (1 - f kappa cos^2)^K; ratio |1 - f kappa|^K",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
