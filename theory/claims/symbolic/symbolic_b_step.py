r"""The b-step, found by solving for it.

**Statement.** The solution of :math:`\nabla_b\,\tfrac f2\mathrm{tr}\big(R^T S R\big) = 0`,
:math:`R = a b^T - a^* b^{*T}`, is what the simulation uses, :math:`b = \frac{a^T S a^*}{a^T S a}\,b^*`.

**Assumptions.** S symmetric, :math:`a^T S a > 0`: by construction, S is the second moment of more samples than entries. Then
the loss is a strictly convex quadratic in b, and its stationary point is its minimiser.

**Direction.** Tight: attained everywhere.

**Source.** The first step of Algorithm 2, arXiv 2502.01755v4 (recalled; unverified), solved here.

**Derivation.** SymPy differentiates the loss of ``theory.symbolic.client`` in every entry of b and solves the linear system;
the symbols are the entries of a generic symmetric S and of the four vectors, at three sizes.

**Control.** The same derivation with S dropped from the loss, S = I.
"""

import numpy as np

from rolora.keys import Key
from theory import symbolic
from theory.linear.geometry import random_unit
from theory.linear.model import b_step, random_truth, sample
from theory.verification.claim import Instance, Instances, Statement, equal_arrays

SIZES = [(1, 1), (2, 2), (3, 2)]  # d, k


def _instance(key: Key, number: int, isotropic: bool) -> Instance:
    d, k = SIZES[number % len(SIZES)]
    a_star, b_star = random_truth(key.fold("truth"), d, k)
    model, a = sample(key.fold("data"), 1, d + 3, a_star, b_star, 2), random_unit(key.fold("a"), d)
    derived = symbolic.b_minimiser(d, k, isotropic)
    moment = model.moments[0]
    numbers = (2.0, *moment[np.triu_indices(d)], *a_star, *b_star, *a, *np.zeros(k))
    # The code rounds the same sums, factored, so less often: twice the bound of one side is enough for both.
    slack = 2 * float(np.linalg.norm(derived.rounding(*numbers)))
    met = bool(a @ moment @ a > 0)
    return equal_arrays(b_step(model, 0, a), derived.value(*numbers), slack, f"d={d}, k={k}, instance {number}", met)


def check(key: Key) -> Instances:
    """Random data at the three sizes."""
    return (_instance(key.fold("instance", number), number, False) for number in range(60))


def control(key: Key) -> Instances:
    """Without S."""
    return (_instance(key.fold("instance", number), number, True) for number in range(60))


CLAIM = Statement(
    source="derived here by SymPy, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="solving grad_b (f/2) tr R^T S R = 0, R = a b^T - a* b*^T, gives the simulation's b-step",
    convention="none: f cancels in the minimiser",
)
