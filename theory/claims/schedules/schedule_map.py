r"""One B-round and q A-rounds at that b: the angle in closed form, in the population.

**Statement.** With :math:`\gamma = (1 - f\kappa\cos^2\theta)^q`, if a is normalised after the last A-round of the period,

.. math::
    \tan\theta^+ = \tan\theta\;\frac{\gamma\cos^2\theta}{1 - \gamma\sin^2\theta}.

If it is normalised after each A-round and its length moved to b, the recursion of
``theory.linear.schedules.repeated_a_steps_retracted`` holds instead; both are the population map for q = 1.

**Assumptions.** S_i = I, equal b_i*, the exact b-step, a of length one at it; by construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** At :math:`\bar b = c\,b^*` a step is :math:`a \mapsto (1 - g c^2)\,a + g c\,a^*`, g = f kappa, an affine map with the
fixed point :math:`a^*/c`. After q steps :math:`a^*/c` has the weight :math:`1 - \gamma`, so
:math:`\tan\theta^+ = \gamma\sin\theta / (\gamma c + (1 - \gamma)/c)`. Far from a* the frozen b is short, c < 1, and the steps are
short with it: by c^2, not by f kappa alone. Retraction lengthens b between the steps, and never beyond cos of the angle then.

**Control.** One step of q times the size.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.bounds import population_step
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.schedules import repeated_a_steps, repeated_a_steps_retracted
from theory.verification.claim import EPS, Instances, Statement, equal

INSTANCES, DIMENSION, OUTPUTS = 40, 5, 3


def check(key: Key, one_long_step: bool = False) -> Instances:
    """Both normalisations, up to seven A-rounds."""
    a_star = np.broadcast_to(np.eye(DIMENSION)[:, :1], (INSTANCES, DIMENSION, 1))
    b_star = np.broadcast_to(key.fold("b*").generator().standard_normal((1, 1, 1, OUTPUTS)), (INSTANCES, 1, 1, OUTPUTS))
    theta = key.fold("theta").generator().uniform(0.05, 1.5, INSTANCES)
    a0 = np.cos(theta)[:, None, None] * a_star + np.sin(theta)[:, None, None] * np.eye(DIMENSION)[:, 1:2]
    start = Layer(A=a0, B=np.zeros((INSTANCES, 1, OUTPUTS)))
    data = planted(isotropic(INSTANCES, 1, DIMENSION), a_star, b_star, 2)
    for q in (1, 2, 3, 7):
        for kappa in (0.05, 0.3, 0.5):
            training = LocalTraining(kappa / float(np.sum(b_star[0] ** 2)))
            for retracted in (False, True):
                *_, layer = rounds(data, RoLoRA("B" + "A" * q), start, training, q + 1, retracted)
                after = np.arctan2(layer.A[:, 1, 0], layer.A[:, 0, 0])
                form = repeated_a_steps_retracted if retracted else repeated_a_steps
                for before, angle in zip(theta, after, strict=True):
                    t = float(before)
                    predicted = population_step(t, q * kappa, 2) if one_long_step else form(t, kappa, 2, q)
                    where = f"q={q}, kappa={kappa}, theta={t:.3f}, retracted after each: {retracted}"
                    # Each step rounds in d coordinates; the tangent grows like 1/cos(theta).
                    yield equal(angle, predicted, EPS * DIMENSION * (q + 1) / np.cos(t), where)


def control(key: Key) -> Instances:
    """The population map at q kappa."""
    return check(key, one_long_step=True)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4 with q A-rounds a B-round",
    kind="identity",
    statement="population, q A-rounds: tan theta+ = tan theta g cos^2/(1 - g sin^2), g = (1 - f kappa cos^2)^q",
    convention="any (checked at gradient factor 2)",
)
