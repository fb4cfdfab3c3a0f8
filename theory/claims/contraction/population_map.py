r"""One iteration of Algorithm 2 at infinitely many samples, in closed form.

**Statement.** :math:`\theta^+ = \theta - \arctan(\tfrac f2\kappa\sin 2\theta)`, or
:math:`\tan\theta^+ = \tan\theta\,(1 - f\kappa\cos^2\theta)/(1 + f\kappa\sin^2\theta)`.

**Assumptions.** The population, S_i = I, and equal heads, by construction. That finite data tend to it is the claim
``population-limit``.

**Direction.** Tight: an identity, for every step size and both gradient factors.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** With S_i = I the b-step gives :math:`\bar b = c\,b^*`, and the gradient is
:math:`f c\|b^*\|^2 (c a - a^*) = -f\|b^*\|^2 c\,\delta\,p`, orthogonal to a. So a turns towards a* by
:math:`\arctan(f\kappa c\,\delta)`, and :math:`2 c\delta = \sin 2\theta`. The addition theorem of the tangent gives the second
form. The left side is RoLoRA's two rounds with S_i = I.

**Control.** The formula of the other gradient factor.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import population_step, population_step_tangent
from theory.linear.model import GradientFactor
from theory.linear.rounds import signed_angles
from theory.verification.claim import EPS, Instances, Statement, equal

DIMENSION = 7


def _instances(key: Key, factor: GradientFactor, formula_factor: GradientFactor) -> Instances:
    for theta, kappa, measured in signed_angles(key, 60, 3, DIMENSION, factor):
        # The measured side's direction is a difference of size sin(theta), the tangent grows like 1/cos(theta).
        slack = EPS * DIMENSION * (1 + kappa) / float(np.sin(theta) * np.cos(theta))
        for form in (population_step, population_step_tangent):
            predicted = float(form(theta, kappa, formula_factor))
            where = f"{form.__name__}, theta={theta:.3f}, kappa={kappa:.3f}, f={factor}"
            yield equal(measured, predicted, slack, where)


def check(key: Key) -> Instances:
    """Both forms, both conventions."""
    return [*_instances(key.fold("f", 1), 1, 1), *_instances(key.fold("f", 2), 2, 2)]


def control(key: Key) -> Instances:
    """The map of factor 1 with the formula of factor 2."""
    return _instances(key, 1, 2)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="theta+ = theta - arctan((f/2) kappa sin 2theta) = arctan of tan(theta) (1 - f k cos^2)/(1 + f k sin^2)",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
