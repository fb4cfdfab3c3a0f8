r"""A start orthogonal to a* stays there: delta_0 < 1 is needed.

**Statement.** In the population, a^0 orthogonal to a* is a fixed point of Algorithm 2, with b-bar = 0.

**Assumptions.** S_i = I, by construction; :math:`a^{0T} a^* = 0` to rounding, measured.

**Direction.** Tight: a fixed point. It is unstable: a remaining :math:`\cos\theta` grows by :math:`1 + f\kappa` an
iteration, which the slack follows.

**Source.** Derived here; why arXiv 2502.01755v4, section 4.1, asks for delta_0 < 1 (as quoted elsewhere).

**Derivation.** With S_i = I the b-step gives :math:`\bar b = (a^T a^*) b^* = 0`, and at b = 0 the gradient in a vanishes.

**Control.** Finite data, whose :math:`a^T S_i a^*` is not zero: the iteration leaves the saddle.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.geometry import start_at
from theory.linear.model import LinearModel, population, random_truth, sample
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, equal_arrays

CLIENTS, DIMENSION, OUTPUTS, KAPPA, ITERATIONS = 4, 8, 3, 0.3, 5


def _instances(key: Key, model: LinearModel) -> list[Instance]:
    a0 = start_at(key.fold("a0"), model.a_star, 1.0)
    power = float(model.b_mean @ model.b_mean)
    run = alt_min_gd(model, a0, KAPPA / power, ITERATIONS)
    # a^T a* is zero to rounding only, and the saddle is unstable: what is left grows by (1 + 2 kappa) an iteration.
    slack = EPS * DIMENSION * (1 + 2 * KAPPA) ** ITERATIONS
    met = abs(float(a0 @ model.a_star)) <= EPS * DIMENSION
    return [
        equal_arrays(run.a[-1], a0, slack, f"a after {ITERATIONS} iterations", met),
        equal_arrays(run.b[-1], np.zeros(OUTPUTS), slack * float(np.sqrt(power)), "b-bar", met),
    ]


def check(key: Key) -> Instances:
    """Twenty orthogonal starts at S_i = I."""
    for number in range(20):
        draw = key.fold("instance", number)
        yield from _instances(draw, population(CLIENTS, *random_truth(draw.fold("truth"), DIMENSION, OUTPUTS), 2))


def control(key: Key) -> Instances:
    """The same start on two hundred samples a client."""
    truth = random_truth(key.fold("truth"), DIMENSION, OUTPUTS)
    return _instances(key, sample(key.fold("data"), CLIENTS, 200, *truth, 2))


CLAIM = Statement(
    source="derived here; why arXiv 2502.01755v4, section 4.1, asks for delta_0 < 1",
    kind="identity",
    statement="population: a start orthogonal to a* is a fixed point of Algorithm 2, with b-bar = 0",
    convention="loss (1/m)||.||^2, gradient factor 2; the fixed point does not depend on it",
)
