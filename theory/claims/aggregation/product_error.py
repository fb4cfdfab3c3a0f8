r"""The product's error after a b-round, exactly.

**Statement.** With the averaged b-step, :math:`\|a \bar b^T - a^* b^{*T}\|_F = \delta \sqrt{1 + \bar\xi^2}\, \|b^*\|` and
:math:`\|\bar b - (a^T a^*) b^*\| = \delta\, |\bar\xi|\, \|b^*\|`.

**Assumptions.** Equal heads, by construction. Any data and any a, dependent on the data or not: the iterates are those of
RoLoRA's own rounds on fixed data.

**Direction.** Tight: two identities.

**Source.** Derived here; sharpens the product's error in Theorem 4.5, arXiv 2502.01755v4 (constants recalled; unverified).

**Derivation.** :math:`\bar b = \bar\rho b^*` with :math:`\bar\rho = c + \delta\bar\xi`, so the first norm is that of
:math:`\bar\rho a - a^* = \delta(\bar\xi a - p)`, and a is orthogonal to p. This sharpens the theorem's
:math:`(1 + \epsilon')\epsilon` to :math:`\sqrt{1 + \bar\xi^2}\,\epsilon`.

**Control.** Heads that differ between clients.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.assumptions import rho, xi
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import random_truth, sample
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, equal

CLIENTS, DIMENSION, OUTPUTS, ITERATIONS = 5, 8, 6, 4


def _instances(key: Key, samples: int, heterogeneous: bool) -> Instances:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, OUTPUTS)
    if heterogeneous:
        b_star = b_star + key.fold("heads").generator().standard_normal((CLIENTS, OUTPUTS))
    model = sample(key.fold("data"), CLIENTS, samples, a_star, b_star, 2)
    length = float(np.linalg.norm(model.b_mean))
    run = alt_min_gd(model, start_at(key.fold("a0"), a_star, 0.7), 0.2 / length**2, ITERATIONS)
    for t, (a, b) in enumerate(zip(run.a[:-1], run.b, strict=True)):
        delta, noise = float(angle_distance(a, a_star)), float(np.mean(xi(model, a)))
        # Each client's quotient is known to rounding times the ratio of what enters it to what is left of it.
        spread = np.linalg.norm(model.moments, 2, axis=(1, 2)) / np.einsum("i,nij,j->n", a, model.moments, a)
        slack = EPS * (CLIENTS + DIMENSION) * float(np.mean(spread * (1 + np.abs(rho(model, a))))) * length
        where = f"m={samples}, iteration {t}"
        product = float(np.linalg.norm(np.outer(a, b) - np.outer(a_star, model.b_mean)))
        yield equal(product, delta * np.sqrt(1 + noise**2) * length, slack, f"product, {where}")
        factor = float(np.linalg.norm(b - (a @ a_star) * model.b_mean))
        yield equal(factor, delta * abs(noise) * length, slack, f"b, {where}")


def check(key: Key, heterogeneous: bool = False) -> Instances:
    """Thirty models, from one sample a client to a hundred."""
    cases = [(number, samples) for number in range(10) for samples in (1, 4, 100)]
    return (i for n, m in cases for i in _instances(key.fold("instance", n, "m", m), m, heterogeneous))


def control(key: Key) -> Instances:
    """Heterogeneous heads."""
    return check(key, heterogeneous=True)


CLAIM = Statement(
    source="derived here; sharpens Theorem 4.5, arXiv 2502.01755v4",
    kind="identity",
    statement="||a b-bar^T - a* b*^T||_F = delta sqrt(1 + xi-bar^2) ||b*||; ||b-bar - c b*|| = delta |xi-bar| ||b*||",
    convention="none: holds for any a",
)
