r"""Both gradients, by differentiating the loss.

**Statement.** The derivatives of :math:`\ell = \tfrac f2\mathrm{tr}\big(R^T S R\big)`, :math:`R = a b^T - a^* b^{*T}`, are the
simulation's :math:`\nabla_a\ell = f\,S(a\|b\|^2 - a^* b^{*T}b)` and
:math:`\nabla_b\ell = f\,(b\,a^T S a - b^*\,a^T S a^*)`, for f = 1 and f = 2.

**Assumptions.** S symmetric, by construction.

**Direction.** Tight: attained everywhere.

**Source.** Derived here; the loss is that of section 4.1, arXiv 2502.01755v4 (its 1/m recalled; unverified).

**Derivation.** SymPy differentiates the loss of ``theory.symbolic.client`` in every entry of a and of b, at three sizes.

**Control.** The gradients of the loss (1/(2m))||.||^2, f = 1, while the simulation takes (1/m)||.||^2, f = 2.
"""

import numpy as np

from rolora.keys import Key
from theory import symbolic
from theory.linear.geometry import random_unit
from theory.linear.model import GradientFactor, gradient_a, gradient_b, random_truth, sample
from theory.verification.claim import Instances, Statement, equal_arrays

SIZES = [(1, 1), (2, 2), (3, 2)]  # d, k


def _instances(key: Key, number: int, factor: GradientFactor, derived_factor: GradientFactor) -> Instances:
    d, k = SIZES[number % len(SIZES)]
    a_star, b_star = random_truth(key.fold("truth"), d, k)
    model, a = sample(key.fold("data"), 1, d + 3, a_star, b_star, factor), random_unit(key.fold("a"), d)
    b = key.fold("b").generator().standard_normal(k)
    numbers = (float(derived_factor), *model.moments[0][np.triu_indices(d)], *a_star, *b_star, *a, *b)
    for derived, gradient in zip(symbolic.gradients(d, k), (gradient_a, gradient_b), strict=True):
        # The code rounds the same sums, factored, so less often: twice the bound of one side is enough for both.
        slack = 2 * float(np.linalg.norm(derived.rounding(*numbers)))
        where = f"{gradient.__name__}, d={d}, k={k}, f={factor}, instance {number}"
        yield equal_arrays(gradient(model, 0, a, b), derived.value(*numbers), slack, where)


def check(key: Key, conventions: tuple[tuple[GradientFactor, GradientFactor], ...] = ((1, 1), (2, 2))) -> Instances:
    """Random data and points at the three sizes, in both conventions."""
    pairs = [(number, *convention) for number in range(30) for convention in conventions]
    return (i for number, *factors in pairs for i in _instances(key.fold("instance", number), number, *factors))


def control(key: Key) -> Instances:
    """The other convention's gradients."""
    return check(key, ((2, 1),))


CLAIM = Statement(
    source="derived here by SymPy, for the model of arXiv 2502.01755v4, section 4.1",
    kind="identity",
    statement="differentiating (f/2) tr R^T S R, R = a b^T - a* b*^T, gives the simulation's gradients in a and in b",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
