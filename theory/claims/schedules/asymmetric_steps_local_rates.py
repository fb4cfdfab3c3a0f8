r"""Gradient steps on both factors: how fast each part of the product's error falls near the truth.

**Statement.** In the population, with K gradient steps a round, p B-rounds and q A-rounds a period, of
:math:`E = A B - a^* b^{*T}` near zero a period leaves

.. math::
    (1 - f\eta_A\|b\|^2)^{qK} \text{ of } E \text{ in } (a^*)^\perp \times b^*, \qquad
    (1 - f\eta_B\|a\|^2)^{pK} \text{ in } a^* \times (b^*)^\perp, \qquad \text{both factors' product in } a^* \times b^*.

**Assumptions.** S_i = I, equal b_i*, no normalisation, ||E|| small; by construction.

**Direction.** Tight, in the limit E -> 0.

**Source.** Derived here; the subject is that of arXiv 2502.01755v4, Figure 6.

**Derivation.** At (s a* + alpha, b*/s + beta) to first order :math:`E = \alpha b^{*T}/s + s a^*\beta^T`. A step on B takes
:math:`f\eta_B s\,a^{*T}E` from beta, a step on A takes :math:`f\eta_A E\,b^*/s` from alpha. The fourth direction,
alpha along a* against beta along b*, is the gauge: it changes no product.

**Test.** From ||E|| of size 1e-6; what a period leaves differs from the limit by the relative size of E over the factor.

**Control.** eta_A and eta_B exchanged.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.schedules import mode_factors
from theory.verification.claim import EPS, Instances, Statement, equal

SMALL, DIMENSION, OUTPUTS, FACTOR = 1e-6, 4, 3, 2
CASES = [(0.10, 0.20, 1, "BA"), (0.05, 0.20, 3, "BA"), (0.10, 0.05, 2, "BBA"), (0.08, 0.3, 1, "BAAA")]


def check(key: Key, exchanged: bool = False) -> Instances:
    """Four pairs of step sizes and patterns at random scales."""
    eye_a, eye_b = np.eye(DIMENSION), np.eye(OUTPUTS)
    for number, (eta_a, eta_b, local_steps, pattern) in enumerate(CASES):
        stream = key.fold("case", number).generator()
        length, scale = stream.uniform(0.8, 1.5), stream.uniform(0.7, 1.3)  # ||b*|| and s = ||a||
        data = planted(isotropic(1, 1, DIMENSION), eye_a[None, :, :1], length * eye_b[None, None, :1], FACTOR)
        a = scale * eye_a[:, :1] + SMALL * stream.uniform(0.5, 1, (DIMENSION, 1))
        b = length / scale * eye_b[:1] + SMALL * stream.uniform(0.5, 1, (1, OUTPUTS))
        training = LocalTraining(eta_a, eta_b, local_steps, frozenset())
        *_, layer = rounds(data, RoLoRA(pattern), Layer(A=a[None], B=b[None]), training, len(pattern))
        before, after = (update - length * eye_a[:, :1] * eye_b[:1] for update in (a @ b, layer.update[0]))
        steps = (eta_b, eta_a) if exchanged else (eta_a, eta_b)
        one_a, one_b = mode_factors(*steps, scale, length / scale, FACTOR)
        left_a, left_b = one_a ** (local_steps * pattern.count("A")), one_b ** (local_steps * pattern.count("B"))
        parts = {"a across": (1, 0, left_a), "b across": (0, 1, left_b), "along": (0, 0, left_a * left_b)}
        for name, (i, j, left) in parts.items():
            # Second-order terms: one of relative size ||E|| for every step; and rounding of the product.
            slack = len(pattern) * local_steps * DIMENSION * SMALL * length**2 + EPS * DIMENSION * length / SMALL
            where = f"{name}, {pattern}, K={local_steps}, eta_A={eta_a}, eta_B={eta_b}"
            yield equal(after[i, j] / before[i, j], left, slack, where, met=abs(left) < 1)


def control(key: Key) -> Instances:
    """The step sizes exchanged."""
    return check(key, exchanged=True)


CLAIM = Statement(
    source="derived here, on the subject of arXiv 2502.01755v4, Figure 6",
    kind="identity",
    statement="near the truth a step on A leaves 1 - f eta_A ||b||^2 of its part of the error, one on B 1 - f eta_B ||a||^2",
    convention="loss (1/m)||.||^2, gradient factor 2 (f enters as stated)",
)
