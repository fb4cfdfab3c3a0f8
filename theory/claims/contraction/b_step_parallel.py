r"""The exact b-step returns a multiple of b*, however few samples there are.

**Statement.** :math:`b_i = \rho_i b^*` with :math:`\rho_i = (a^T S_i a^*)/(a^T S_i a) = \cos\theta + \sin\theta\,\xi_i`.

**Assumptions.** Equal heads and :math:`X_i a \ne 0`; both by construction. Any m >= 1 and any unit a.

**Direction.** Tight: an identity for every client.

**Source.** Derived here, for the b-step of Algorithm 2, arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** The normal equations of :math:`\min_b \|X_i a b^T - X_i a^* b^{*T}\|_F` are
:math:`(a^T S_i a)\, b = (a^{*T} S_i a)\, b^*`. With :math:`a^* = \cos\theta\, a + \sin\theta\, p`, p orthogonal to a, the
quotient splits into :math:`\cos\theta + \sin\theta\, (a^T S_i p)/(a^T S_i a)`. The left side is a least-squares solver on
the raw X_i and Y_i, the right side each of the two closed forms.

**Control.** Heads that differ between clients: b_i is then not a multiple of their mean.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.assumptions import rho, xi
from theory.linear.geometry import random_unit
from theory.linear.model import LinearModel, heads, random_truth, sample_inputs, second_moments
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

SIZES = [(1, 6, 3), (2, 5, 4), (10, 8, 1), (200, 20, 10)]  # m, d, k
CLIENTS = 4


def _instances(key: Key, number: int, heterogeneous: bool) -> Instances:
    m, d, k = SIZES[number % len(SIZES)]
    a_star, b_star = random_truth(key.fold("truth"), d, k)
    rows = key.fold("heads").generator().standard_normal((CLIENTS, k)) if heterogeneous else heads(b_star, CLIENTS)
    inputs, a = sample_inputs(key.fold("data"), CLIENTS, m, d), random_unit(key.fold("a"), d)
    model = LinearModel(second_moments(inputs), a_star, rows, 2)
    cosine = a @ a_star
    forms = {"quotient": rho(model, a), "cos + sin xi": cosine + np.sqrt(1 - cosine**2) * xi(model, a)}
    for client, x in enumerate(inputs):
        outputs = np.outer(x @ a_star, rows[client])
        solved = np.linalg.lstsq((x @ a)[:, None], outputs, rcond=None)[0][0]
        # b_i is a quotient: its rounding grows with the lengths that enter above and below the line.
        size = (m + d) * np.linalg.norm(x) ** 2 / np.linalg.norm(x @ a) ** 2 * np.linalg.norm(rows[client])
        for form, predicted in forms.items():
            slack = EPS * size * (1 + abs(predicted[client]))
            yield equal_arrays(solved, predicted[client] * model.b_mean, slack, f"{form}, m={m}, d={d}, k={k}")


def check(key: Key) -> Instances:
    """From one sample a client to two hundred."""
    return (i for number in range(80) for i in _instances(key.fold("instance", number), number, False))


def control(key: Key) -> Instances:
    """Heterogeneous heads, with their mean in the place of b*."""
    return (i for number in range(8) for i in _instances(key.fold("instance", number), number, True))


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="b_i = rho_i b* with rho_i = a^T S_i a* / a^T S_i a = cos(theta) + sin(theta) xi_i, any m >= 1",
    convention="none: a minimiser does not depend on the loss's scale",
)
