r"""With label noise and little data FFA-LoRA can end below RoLoRA: from a start nearer than the data can tell.

**Statement.** The excess risk of Algorithm 2's limit is below FFA-LoRA's iff
:math:`\delta_0^2 > \delta_{crit}^2`, to first order :math:`\frac{\sigma^2}{\|b^*\|^2}\frac{d - 1}{Nm}`. Read without label noise it
is below from every start that is not exact, delta_0 > 0.

**Assumptions.** Fixed data, sigma^2 (d + k)/(N m ||b*||^2) << 1, exact b-steps; by construction.

**Direction.** Tight: the threshold is where the two risks are equal.

**Source.** The noiseless reading: arXiv 2502.01755v4, Proposition 4.6 beside Theorem 4.5. The threshold: derived here.

**Corrected.** "RoLoRA removes FFA-LoRA's floor" is a statement about the bias. It pays for it with d - 1 more estimated
parameters.

**Derivation.** Equate ``theory.linear.label_noise.product_risk`` and ``ffa_risk`` and solve for delta_0^2.

**Test.** Mean of the paired difference of both risks at half of and at twice the threshold; the slack is its interval.

**Control.** Half of the threshold, where the corrected statement's first half would be false.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import alt_min_gd, solve_b
from theory.linear.label_noise import ffa_risk, product_risk
from theory.verification.claim import Instance, Instances, Statement, at_most
from theory.verification.statistics import mean_interval

CLIENTS, SAMPLES, DIMENSION, OUTPUTS = 4, 20, 9, 3
NOISE, KAPPA, DRAWS, ITERATIONS = 1e-2, 0.45, 1000, 40


def _threshold() -> float:
    per_square = ffa_risk(0.0, 1.0, 1.0, OUTPUTS, CLIENTS, SAMPLES)
    noise_alone = ffa_risk(NOISE, 1.0, 0.0, OUTPUTS, CLIENTS, SAMPLES)
    return (product_risk(NOISE, DIMENSION, OUTPUTS, CLIENTS, SAMPLES) - noise_alone) / per_square


def _instance(key: Key, share: float, rolora_below: bool) -> Instance:
    """The lower risk must be the one that is said to be."""
    delta = np.sqrt(share * _threshold())
    a_star = np.broadcast_to(np.eye(DIMENSION)[:, :1], (DRAWS, DIMENSION, 1))
    b_star = np.full((DRAWS, CLIENTS, 1, OUTPUTS), 1 / np.sqrt(OUTPUTS))
    data = draw_noisy(key.fold("data", repr(share)), SAMPLES, a_star, b_star, NOISE, 2)
    a0 = np.sqrt(1 - delta**2) * a_star + delta * np.eye(DIMENSION)[:, 1:2]
    truth, risks = a_star @ b_star[:, 0], []
    for a in (alt_min_gd(data, a0, KAPPA, ITERATIONS, DRAWS).a[:, -1], a0):
        b = np.mean(solve_b(data, a[:, None]), axis=1)
        risks.append(np.sum((a @ b - truth) ** 2, axis=(-2, -1)))
    low, high = risks if rolora_below else reversed(risks)
    interval = mean_interval((low - high) / NOISE**2)
    where = f"delta0^2 = {share} of the threshold: (lower - higher risk)/sigma^2, +-{interval.half_width:.2g}"
    return at_most(interval.high, 0.0, 1e-12, where)


def check(key: Key) -> Instances:
    """Both sides of the threshold."""
    return [_instance(key, 2.0, True), _instance(key, 0.5, False)]


def printed(key: Key) -> Instances:
    """RoLoRA below on both sides."""
    return [_instance(key, share, True) for share in (2.0, 0.5)]


def control(key: Key) -> Instances:
    """RoLoRA below at half of the threshold."""
    return [_instance(key, 0.5, True)]


CLAIM = Statement(
    source="a noiseless reading of arXiv 2502.01755v4, section 4.1; corrected here",
    kind="measurement",
    statement="RoLoRA's limit is below FFA-LoRA's risk; correction: iff delta_0^2 > (sigma^2/||b*||^2)(d-1)/(Nm), about",
    convention="any: the limits do not depend on the factor (checked at 2)",
    expected="holds with the stated correction",
)
