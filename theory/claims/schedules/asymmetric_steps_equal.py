r"""Equal step sizes are not the best ones from LoRA's start: they end unbalanced.

**Statement.** From ||a^0|| = 1, b^0 = 0, at a given :math:`\eta_A\eta_B`, alternating gradient steps with
:math:`\eta_A = \eta_B` reach an accuracy in at most as many rounds as with any other ratio.

**Assumptions.** S_i = I, equal b_i*, k >= 2, no normalisation; by construction. Counted where the accuracy is reached.

**Direction.** Upper.

**Source.** A reading of arXiv 2502.01755v4, Figure 6 (balanced learning rates are best, as quoted elsewhere), on the linear model.

**Corrected.** Refuted: at :math:`\sqrt{\eta_A\eta_B}\,\|b^*\| = 0.1` equal steps need 162 rounds, :math:`\eta_A = 16\,\eta_B` 138 and
:math:`\eta_B = 16\,\eta_A` 304. Best at the end is :math:`\eta_A\|b\|^2 = \eta_B\|a\|^2` (claim ``asymmetric-steps-balanced``), and
the lengths depend on the path.

**Derivation.** :math:`A^T\nabla_A = \nabla_B B^T`, so gradient flow keeps :math:`\|a\|^2/\eta_A - \|b\|^2/\eta_B` at its start,
1/eta_A; steps change it by a relative O(f eta_A ||b*||^2). Times f eta_A eta_B: at the limit v - u = f eta_B ||a^0||^2, with
:math:`u = f\eta_A\|b\|^2`, :math:`v = f\eta_B\|a\|^2` and uv given. The slower part is u's, and u grows as eta_B falls: towards
balance, never beyond it. The other way round, from a start with b alone, large eta_B would be best: only a ratio that is
invariant under (s a, b/s) can be (claim ``asymmetric-steps-gauge``).

**Control.** :math:`\eta_B = 16\,\eta_A` for the best.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.geometry import start_at
from theory.verification.claim import EPS, Instances, Statement, at_most

DIMENSION, OUTPUTS, FACTOR, ACCURACY, LONGEST, LENGTH, DELTA0 = 4, 3, 2, 1e-6, 1200, 2.0, 0.6
MEANS, RATIOS = (0.1, 0.2), (0.25, 1.0, 4.0)  # sqrt(eta_A eta_B) ||b*||, and sqrt(eta_A / eta_B)


def _rounds_needed(key: Key, mean: float, ratio: float) -> float:
    truth = np.eye(DIMENSION)[None, :, :1], LENGTH * np.eye(OUTPUTS)[None, None, :1]
    data = planted(isotropic(1, 1, DIMENSION), *truth, FACTOR)
    a0 = start_at(key.fold("a0"), truth[0][0, :, 0], DELTA0)[None, :, None]
    training = LocalTraining(mean / LENGTH * ratio, mean / LENGTH / ratio, 1, frozenset())
    start = Layer(A=a0, B=np.zeros((1, 1, OUTPUTS)))
    for t, layer in enumerate(rounds(data, RoLoRA("BA"), start, training, LONGEST)):
        if np.linalg.norm(layer.update[0] - truth[0][0] @ truth[1][0, 0]) <= ACCURACY * LENGTH:
            return t + 1.0
    return np.inf


def check(key: Key, chosen: float = 1.0) -> Instances:
    """Equal steps against a sixteenth and sixteen times as large eta_A : eta_B."""
    for mean in MEANS:
        needed = {ratio: _rounds_needed(key.fold("mean", repr(mean)), mean, ratio) for ratio in RATIOS}
        for ratio, other in needed.items():
            where = f"eta_A/eta_B = {chosen**2:g} measured, {ratio**2:g} predicted, w={FACTOR * mean}: rounds"
            yield at_most(needed[chosen], other, EPS, where, met=bool(np.isfinite(needed[chosen] + other)))


def control(key: Key) -> Instances:
    """Sixteen times as large steps on B."""
    return check(key, 0.25)


CLAIM = Statement(
    source="a reading of arXiv 2502.01755v4, Figure 6, on the linear model; refuted here",
    kind="measurement",
    statement="from ||a|| = 1, b = 0, at given eta_A eta_B, equal step sizes need the fewest rounds",
    convention="loss (1/m)||.||^2, gradient factor 2 (f eta is what matters)",
    expected="refuted",
)
