r"""The map of angles, derived from the loss alone.

**Statement.** At S = I an exact b-step, a gradient step on a and normalising take the angle to
:math:`\theta^+ = \theta - \arctan(\tfrac f2\kappa\sin 2\theta)`, and
:math:`\tan\theta^+/\tan\theta = (1 - f\kappa\cos^2\theta)/(1 + f\kappa\sin^2\theta)`.

**Assumptions.** S_i = I, by construction; :math:`0 < \theta < \pi/2`, as drawn.

**Direction.** Tight: attained everywhere.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4.

**Derivation.** SymPy inserts the b that it solved for (``symbolic-b-step``) in the gradient that it differentiated
(``symbolic-gradients``), at a = (cos, sin) and a* = (1, 0), takes the step eta = kappa/||b*||^2 and simplifies the tangent of
the angle between the old and the new a. The left side is RoLoRA's two rounds in six dimensions.

**Control.** The map derived for the loss (1/(2m))||.||^2, f = 1, while the simulation takes (1/m)||.||^2, f = 2.
"""

import numpy as np

from rolora.keys import Key
from theory import symbolic
from theory.linear.bounds import population_step
from theory.linear.model import GradientFactor
from theory.linear.rounds import signed_angles
from theory.verification.claim import EPS, Instances, Statement, equal

DIMENSION = 6


def _instances(key: Key, factor: GradientFactor, derived_factor: GradientFactor) -> Instances:
    for theta, kappa, measured in signed_angles(key, 60, 2, DIMENSION, factor):
        angle, tangents = symbolic.population_map().value(theta, kappa, float(derived_factor))
        # The measured side's direction is a difference of size sin(theta), the tangent grows like 1/cos(theta).
        slack = EPS * DIMENSION * (1 + kappa) / float(np.sin(theta) * np.cos(theta))
        where = f"theta={theta:.3f}, kappa={kappa:.3f}, f={factor}"
        yield equal(measured, angle, slack, f"RoLoRA's rounds, {where}")
        yield equal(measured, np.arctan(np.tan(theta) * tangents), slack, f"tangents, {where}")
        yield equal(population_step(theta, kappa, factor), angle, slack, f"theory.linear.bounds, {where}")


def check(key: Key) -> Instances:
    """Random angles and steps in both conventions."""
    return [*_instances(key.fold("f", 1), 1, 1), *_instances(key.fold("f", 2), 2, 2)]


def control(key: Key) -> Instances:
    """The other convention's map."""
    return _instances(key, 2, 1)


CLAIM = Statement(
    source="derived here by SymPy, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="from the loss at S = I: theta+ = theta - arctan((f/2) kappa sin 2theta), as RoLoRA's two rounds do",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
