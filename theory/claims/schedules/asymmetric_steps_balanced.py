r"""For a given product of the step sizes, balanced ones are best near the truth: if B has more than one output.

**Statement.** Let :math:`u = f\eta_A\|b\|^2`, :math:`v = f\eta_B\|a\|^2` at the limit and :math:`w = \sqrt{uv}`, which is
:math:`f\sqrt{\eta_A\eta_B}\,\|b^*\|` whatever the scale. For d >= 2 and k >= 2 a period (B, A) of one step each leaves of some
part of the error at least :math:`|1 - w|`, and no more than that iff u = v.

**Assumptions.** S_i = I, equal b_i*, ||E|| small, d and k at least 2; by construction.

**Direction.** Lower; attained at u = v.

**Source.** Derived here; arXiv 2502.01755v4, Figure 6, finds balanced steps best (as quoted elsewhere), by measurement.

**Derivation.** By the claim ``asymmetric-steps-local-rates`` the slowest part keeps max(|1 - u|, |1 - v|). If w <= 1 the smaller of
u, v is at most w, and 1 minus it at least 1 - w; if w > 1 the larger is at least w. Equality needs u = v = w. The same holds with
the larger of u and v bounded by c <= 1 (then u = v = c), or with u + v fixed. It fails for k = 1, where no part of the error
depends on steps on B alone, so u = 1 leaves nothing, whatever v; and for the angle alone, or the exact b-step. Equal **step
sizes** are another matter (claim ``asymmetric-steps-equal``).

**Control.** One output, k = 1.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.verification.claim import EPS, Instance, Instances, Statement, at_least

SMALL, DIMENSION, FACTOR = 1e-6, 3, 2
MEANS, RATIOS = (0.1, 0.4, 0.8, 1.2), (0.25, 0.5, 0.9, 1.0, 1.2, 2.0, 4.0)  # w, and the root of u/v


def _instance(key: Key, w: float, ratio: float, outputs: int) -> Instance:
    stream = key.generator()
    length, scale = stream.uniform(0.8, 1.5), stream.uniform(0.7, 1.3)  # ||b*|| and ||a||
    eye_a, eye_b = np.eye(DIMENSION), np.eye(outputs)
    data = planted(isotropic(1, 1, DIMENSION), eye_a[None, :, :1], length * eye_b[None, None, :1], FACTOR)
    a = scale * eye_a[:, :1] + SMALL * stream.uniform(0.5, 1, (DIMENSION, 1))
    b = length / scale * eye_b[:1] + SMALL * stream.uniform(0.5, 1, (1, outputs))
    u, v = w * ratio, w / ratio
    training = LocalTraining(u / (FACTOR * (length / scale) ** 2), v / (FACTOR * scale**2), 1, frozenset())
    *_, layer = rounds(data, RoLoRA("BA"), Layer(A=a[None], B=b[None]), training, 2)
    before, after = (update - length * eye_a[:, :1] * eye_b[:1] for update in (a @ b, layer.update[0]))
    parts = [(0, 0), (1, 0), (0, 1)][: 2 if outputs == 1 else 3]
    slowest = max(abs(after[part] / before[part]) for part in parts)
    slack = 2 * DIMENSION * SMALL * length**2 * (1 + u) * (1 + v) + EPS * DIMENSION * length / SMALL
    return at_least(slowest, abs(1 - w), slack, f"k={outputs}, w={w}, u={u:.3f}, v={v:.3f}")


def check(key: Key, outputs: int = 3) -> Instances:
    """Four means, u : v from 1 : 16 to 16 : 1, three outputs."""
    cases = [(w, ratio) for w in MEANS for ratio in RATIOS]
    return (_instance(key.fold("case", number), *case, outputs) for number, case in enumerate(cases))


def control(key: Key) -> Instances:
    """One output."""
    return check(key, 1)


CLAIM = Statement(
    source="derived here, on the subject of arXiv 2502.01755v4, Figure 6",
    kind="bound",
    statement="with w^2 = (f eta_A ||b||^2)(f eta_B ||a||^2) given, a period leaves |1 - w| of the error at least (k >= 2)",
    convention="loss (1/m)||.||^2, gradient factor 2 (f enters as stated)",
)
