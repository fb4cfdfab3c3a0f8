r"""The distance of the averaged gradient from its mean.

**Statement.** At the averaged b-step, the averaged gradient's distance from its mean over fresh inputs at the same b-bar is
at most :math:`2(1 + \bar\xi^2)\, \|S - I\|\, \delta \|b^*\|^2`.

**Assumptions.** Equal heads, by construction; any data and any a. "Mean" is over inputs independent of b-bar.

**Direction.** Upper. At d = 2 it comes within a few thousandths of equality (:math:`\xi = \tan\theta` and
:math:`\bar\rho a - a^*` an eigenvector of S - I would attain it); the median over the instances is 0.4 of it.

**Source.** Derived here; compare the lemma before Lemma 4.4, arXiv 2502.01755v4 (recalled, unverified).

**Derivation.** Insert :math:`\bar b = \bar\rho b^*` into :math:`2 S (a\|\bar b\|^2 - a^* b^{*T}\bar b)`: the gradient is
:math:`2\|b^*\|^2 \bar\rho\, S(\bar\rho a - a^*)`. Fresh inputs replace S by I; the difference has the norm of
:math:`(S - I)\bar\rho(\bar\rho a - a^*)`, with :math:`|\bar\rho| = |\cos\theta + \delta\bar\xi| \le \sqrt{1 + \bar\xi^2}` by
Cauchy-Schwarz and :math:`\|\bar\rho a - a^*\| = \delta\sqrt{1+\bar\xi^2}`.

**Control.** The bound of gradient factor 1, half as large, for the gradient of factor 2.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.assumptions import moment_error, xi
from theory.linear.bounds import gradient_deviation
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import b_step, gradient_a, population, random_truth, sample
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

SIZES = [(3, 2, 2), (5, 20, 2), (4, 50, 10), (10, 5, 30)]  # N, m, d
ANGLES = (0.05, 0.5, 0.95)


def _instance(key: Key, number: int, scale: float) -> Instance:
    n, m, d = SIZES[number % len(SIZES)]
    a_star, b_star = random_truth(key.fold("truth"), d, 4)
    a = start_at(key.fold("a"), a_star, ANGLES[number % len(ANGLES)])
    finite, limit = sample(key.fold("data"), n, m, a_star, b_star, 2), population(n, a_star, b_star, 2)
    b = np.mean([b_step(finite, client, a) for client in range(n)], axis=0)
    deviation = np.mean([gradient_a(finite, i, a, b) - gradient_a(limit, i, a, b) for i in range(n)], axis=0)
    delta, noise = float(angle_distance(a, a_star)), float(np.mean(xi(finite, a)))
    bound = scale * gradient_deviation(delta, float(np.linalg.norm(b_star)), noise, moment_error(finite))
    slack = EPS * (n + d) * float((b @ b) * (1 + moment_error(finite)))
    return at_most(float(np.linalg.norm(deviation)), bound, slack, f"N={n}, m={m}, d={d}, delta={delta:.2f}")


def check(key: Key) -> Instances:
    """Four sizes and three angles; d = 2 with few samples comes close to equality."""
    return (_instance(key.fold("instance", number), number, 1.0) for number in range(240))


def control(key: Key) -> Instances:
    """Half the bound."""
    return (_instance(key.fold("instance", number), number, 0.5) for number in range(240))


CLAIM = Statement(
    source="derived here; compare the lemma before Lemma 4.4, arXiv 2502.01755v4 (recalled, unverified)",
    kind="bound",
    statement="||grad - E grad|| <= 2 (1 + xi-bar^2) ||S - I|| delta ||b*||^2, the mean taken at fixed b-bar",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
