r"""The recalled theorem: as many iterations as it asks for reach the accuracy, with an explicit probability.

**Statement.** After :math:`T \ge \frac{2}{\kappa c_0}\log\frac{\delta_0}{\epsilon}` iterations of Algorithm 2 with fresh data,
:math:`\delta_T \le \epsilon` and :math:`\|a^T(\bar b^{T+1})^T - a^*b^{*T}\|_F \le (1 + \epsilon')\epsilon\|b^*\|`,
:math:`\epsilon' = c_0/16`, except with probability :math:`(T + 1)(4e^{-s^2/2} + Ne^{-m/16})`; for
:math:`\kappa \le 0.99` at gradient factor 1, :math:`\kappa \le 1 - c_0/3` at factor 2, and
:math:`\sqrt{Nm} \ge (\sqrt d + s)/\tau_0`, :math:`\tau_0 = \sqrt{1 + c_0/16} - 1`.

**Assumptions.** Gaussian data drawn anew in every iteration, and for the last b-step: by construction, with the sizes stated.

**Direction.** Upper; T is several times what is needed (the control), and hardly a run fails.

**Source.** arXiv 2502.01755v4, Theorem 4.5; T with an unnamed c in (0, 1), the probability :math:`1 - 2Tq^{-10}` and the
product's bound recalled; unverified.

**Corrected.** The range of steps, as in the claim ``recalled-lemma``: at factor 2 and :math:`\kappa = 1`, which
:math:`\eta \le 1/L_{\max}^2` allows, runs do not converge. c is :math:`\kappa`. The probability is one that can be counted.

**Derivation.** Contraction by :math:`\sqrt{1 - \kappa c_0} \le e^{-\kappa c_0/2}` in each of T iterations (claim
``recalled-lemma-probability``, a union over them and the last b-step); the product's error is
:math:`\sqrt{1 + \bar\xi^2}\,\delta_T\|b^*\|`.

**Test.** Failed runs counted, Clopper-Pearson at confidence 0.9999.

**Control.** An eighth of the iterations: near a* one iteration takes :math:`|1 - f\kappa|`, not nearly enough for small steps.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import failure_probability
from theory.linear.ensemble_rounds import alt_min_gd, solve_b, subspace_distance
from theory.linear.fresh_data import fresh, starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import EPS, Instances, Statement, at_most
from theory.verification.statistics import clopper_pearson_upper

RUNS, CLIENTS, DIMENSION, OUTPUTS, DEVIATION = 700, 4, 4, 2, 4.2  # the last is s
CASES: list[tuple[GradientFactor, float, float, float]] = [
    (1, 0.99, 0.5, 1e-6), (1, 0.3, 0.3, 1e-3), (2, 0.3, 0.3, 1e-3), (2, 0.7, 0.5, 1e-6),
]  # fmt: skip


def _instances(key: Key, cases: list[tuple[GradientFactor, float, float, float]], share: float) -> Instances:
    for number, (f, kappa, delta0, epsilon) in enumerate(cases):
        draw, c0 = key.fold("case", number), 1 - delta0**2
        tau = np.sqrt(1 + c0 / 16) - 1
        samples = int(np.ceil((np.sqrt(DIMENSION) + DEVIATION) ** 2 / (tau**2 * CLIENTS)))
        stated = int(np.ceil(2 / (kappa * c0) * np.log(delta0 / epsilon)))
        iterations = int(np.ceil(share * stated))
        a_star = unit_columns(draw.fold("a*"), RUNS, DIMENSION)
        b_star = np.ones((1, 1, 1, OUTPUTS)) / np.sqrt(OUTPUTS)
        data = fresh(draw.fold("data"), CLIENTS, samples, a_star, b_star, f)
        a = alt_min_gd(data, starts_at(draw.fold("a0"), a_star, delta0), kappa, iterations).a[:, -1]
        b = np.mean(solve_b(data(iterations), a[:, None]), axis=1)
        errors = np.linalg.norm(a @ b - a_star @ b_star[0], axis=(1, 2))
        reached = (subspace_distance(a, a_star) <= epsilon) & (errors <= (1 + c0 / 16) * epsilon)
        failures = RUNS - int(np.sum(reached))
        allowed = failure_probability(DEVIATION, CLIENTS, samples, stated + 1)
        where = (
            f"f={f}, kappa={kappa}, delta0={delta0}, eps={epsilon:g}, T={iterations}: {failures} of {RUNS} runs failed"
        )
        yield at_most(clopper_pearson_upper(failures, RUNS), allowed, EPS, where)


def check(key: Key) -> Instances:
    """Two steps in each convention."""
    return _instances(key, CASES, 1.0)


def printed(key: Key) -> Instances:
    """As recalled: kappa = 1 at factor 2."""
    return _instances(key.fold("printed"), [(2, 1.0, 0.5, 1e-2)], 1.0)


def control(key: Key) -> Instances:
    """T cut to an eighth, for the smaller steps."""
    return _instances(key, CASES[1:3], 1 / 8)


CLAIM = Statement(
    source="arXiv 2502.01755v4, Theorem 4.5 (constants and probability recalled; unverified); range of steps corrected here",
    kind="high probability",
    statement="fresh data, T >= 2/(kappa c0) log(delta0/eps): delta <= eps, error <= (1+eps') eps; not all kappa <= 1 at f=2",
    convention="both: f = 1 for (1/(2m))||.||^2, f = 2 for (1/m)||.||^2",
    expected="holds with the stated correction",
)
