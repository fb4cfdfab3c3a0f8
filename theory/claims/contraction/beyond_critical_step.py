r"""Beyond the critical step there is no convergence to a*: the iterates settle on a cycle of two around it.

**Statement.** For :math:`f\kappa > 2` let :math:`\delta_\infty^2 = (f\kappa - 2)/(2f\kappa)`. Then delta grows iff
:math:`\delta < \delta_\infty`, and :math:`\delta_t \to \delta_\infty`, with a on one side of a* and the other in turn.

**Assumptions.** The population, S_i = I, by construction. A start from which no iterate hits a* itself, which excludes
countably many angles (:math:`\cos^2\theta = 1/(f\kappa)` and what leads there); measured.

**Direction.** Tight: the limit itself. The steps up to :math:`f\kappa = 2` converge from every start that is no saddle, those
beyond from almost none.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** With :math:`x = 1 - \delta^2` and :math:`g = f\kappa`, :math:`(\delta^+/\delta)^2 = (1 - gx)^2/(1 + g^2 x(1 - x))`
exceeds 1 iff :math:`2gx > 2 + g`, which is :math:`\delta < \delta_\infty`; so delta cannot tend to 0. The map
:math:`\theta - \arctan(\tfrac g2\sin 2\theta)` sends theta to -theta iff :math:`\cos 2\theta = 2/g`, which is
:math:`\delta = \delta_\infty`. Its slope there is :math:`1 - 8/g^2`, inside (-1, 1): the cycle attracts what is near. That it
attracts from far, too, is checked on the starts below and not derived.

**Control.** Gradient factor 1 with factor 2's formula: up to kappa = 2 it converges to a*.
"""

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import GradientFactor, random_truth
from theory.verification.claim import EPS, Instances, Statement, at_least, at_most, equal, equal_arrays

DIMENSION, ITERATIONS, STARTS, SHARES = 5, 200, (0.01, 0.55, 0.95), (1e-3, 0.5, 0.99, 1.01)


def _instances(key: Key, kappa: float, factor: GradientFactor, stated: float) -> Instances:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, 3)
    limit, eta = float(np.sqrt((stated - 2) / (2 * stated))), kappa / float(b_star @ b_star)

    def iterates(deltas: tuple[float, ...], iterations: int) -> Float[Array, "starts iterates d"]:
        starts = [start_at(key.fold("delta", repr(delta)), a_star, delta)[:, None] for delta in deltas]
        model = planted(isotropic(len(deltas), 1, DIMENSION), a_star[None, :, None], b_star[None, None, None], factor)
        return alt_min_gd(model, np.stack(starts), eta, iterations).a[..., 0]

    growth = angle_distance(iterates(tuple(share * limit for share in SHARES), 1), a_star)
    for share, (before, after) in zip(SHARES, growth, strict=True):
        compare, slack = at_least if share < 1 else at_most, EPS * DIMENSION * (1 + kappa) / before
        yield compare(after / before, 1.0, slack, f"f={factor}, kappa={kappa}, growth at {share} of the cycle")
    # Rounding enters every iteration and shrinks by the cycle's slope.
    slack = EPS * DIMENSION * (1 + kappa) / (1 - abs(1 - 8 / stated**2))
    for start, a in zip(STARTS, iterates(STARTS, ITERATIONS), strict=True):
        aside, met = a - np.outer(a @ a_star, a_star), bool(np.min(angle_distance(a, a_star)) > 1e-6)
        where = f"f={factor}, kappa={kappa}, from {start}, delta after {ITERATIONS}"
        yield equal(np.linalg.norm(aside[-1]), limit, slack, where, met)
        yield equal_arrays(aside[-1], -aside[-2], 2 * slack, f"{where}: sides", met)


def check(key: Key) -> Instances:
    """Five steps beyond the critical one, in both conventions."""
    cases: list[tuple[float, GradientFactor]] = [(1.1, 2), (1.25, 2), (2.0, 2), (3.0, 2), (2.5, 1)]
    return (i for kappa, f in cases for i in _instances(key.fold("f", f, repr(kappa)), kappa, f, f * kappa))


def control(key: Key) -> Instances:
    """kappa = 1.5 at gradient factor 1, with the formula of factor 2."""
    return _instances(key, 1.5, 1, 3.0)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="population, f kappa > 2: delta does not tend to 0 but to sqrt((f kappa - 2) / (2 f kappa)), a cycle of two",
    convention="both: kappa > 1 for (1/m)||.||^2, kappa > 2 for (1/(2m))||.||^2",
)
