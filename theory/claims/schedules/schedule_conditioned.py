r"""With gradient steps on both factors the best period has as many B-rounds to A-rounds as their progress a step is unequal.

**Statement.** Let phi_A, phi_B be what a step on A and on B leaves near the truth, K steps a round, p B-rounds and q A-rounds a
period. In the population log ||E|| falls a communication round by

.. math::
    K\,\frac{\min(q L_A,\ p L_B)}{p + q} \le K\,\frac{L_A L_B}{L_A + L_B}, \qquad L = |\log|\varphi||,

with equality iff p : q = L_A : L_B. One to one is best iff L_A = L_B, and otherwise slower by up to a factor of two; the exact
b-step is L_B = infinity.

**Assumptions.** S_i = I, equal b_i*, k, d >= 2, ||E|| small, 0 < |phi| < 1; by construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** By the claim ``asymmetric-steps-local-rates`` a period leaves phi_A^{qK} and phi_B^{pK} of the two parts that only one
factor changes, and less of the third. The slower decides. min(qx, py)/(p + q) is greatest where both are equal. So a schedule can
balance what the step sizes do not.

**Test.** The slowest part after one period from ||E|| of size 1e-6, and the bound for each pattern.

**Control.** The rate of one to one for every pattern.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.schedules import rate_a_round
from theory.verification.claim import EPS, Instances, Statement, at_most, equal

SMALL, DIMENSION, OUTPUTS, FACTOR = 1e-6, 3, 3, 2
FACTORS = ((0.8, 0.512), (0.9, 0.9), (0.49, 0.7))  # phi_A, phi_B: L_A : L_B = 1:3, 1:1, 2:1
PATTERNS = ("BA", "BAA", "BAAA", "BBA", "BBBA", "BBAAA")


def check(key: Key, one_to_one: bool = False) -> Instances:
    """Six patterns for three pairs of factors."""
    for left_a, left_b in FACTORS:
        for pattern in PATTERNS:
            for steps in (1, 2):
                stream = key.fold(pattern, steps).generator()
                length, scale = stream.uniform(0.8, 1.5), stream.uniform(0.7, 1.3)  # ||b*|| and ||a||
                eye = np.eye(DIMENSION)
                data = planted(isotropic(1, 1, DIMENSION), eye[None, :, :1], length * eye[None, None, :1], FACTOR)
                a = scale * eye[:, :1] + SMALL * stream.uniform(0.5, 1, (DIMENSION, 1))
                b = length / scale * eye[:1] + SMALL * stream.uniform(0.5, 1, (1, OUTPUTS))
                eta_a, eta_b = (1 - left_a) * (scale / length) ** 2 / FACTOR, (1 - left_b) / (FACTOR * scale**2)
                run = rounds(
                    data, RoLoRA(pattern), Layer(A=a[None], B=b[None]),
                    LocalTraining(eta_a, eta_b, steps, frozenset()), len(pattern),
                )  # fmt: skip
                *_, layer = run
                before, after = (update - length * eye[:, :1] * eye[:1] for update in (a @ b, layer.update[0]))
                left = max(abs(after[part] / before[part]) for part in ((0, 0), (1, 0), (0, 1)))
                counts = (1, 1) if one_to_one else (pattern.count("A"), pattern.count("B"))
                rate = rate_a_round(left_a, left_b, steps, *counts)
                # Second-order terms of relative size ||E|| at every step, and rounding, over what is left.
                slack = (steps * DIMENSION * SMALL * length**2 + EPS * DIMENSION * length / SMALL) / left
                measured, where = -np.log(left) / len(pattern), f"{pattern}, K={steps}, phi_A={left_a}, phi_B={left_b}"
                low, high = np.sort(np.abs(np.log([left_a, left_b])))
                yield equal(measured, rate, slack, where)
                yield at_most(measured, steps * low * high / (low + high), slack, f"bound, {where}")


def control(key: Key) -> Instances:
    """One to one's rate."""
    return check(key, one_to_one=True)


CLAIM = Statement(
    source="derived here, for RoLoRA with gradient steps on both factors and other orders of them",
    kind="rate",
    statement="p B- and q A-rounds: log error falls by K min(q L_A, p L_B)/(p+q) a round; p : q = L_A : L_B is best",
    convention="loss (1/m)||.||^2, gradient factor 2 (f eta is what matters)",
)
