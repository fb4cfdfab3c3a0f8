r"""A product is only locally block smooth, so no step serves every start.

**Statement.** For :math:`f = \tfrac f2\|ab^T - a^*b^{*T}\|_F^2` a step on a multiplies the excess over the best a at this b by
exactly :math:`(1 - \eta L_A)^2`, :math:`L_A = f\|b\|^2`, which grows without limit. At every step size, gradient descent in
turns (b, then a) diverges from every b^0 that is long enough.

**Assumptions.** The population, rank 1; a^0 a unit vector, :math:`\eta f\|b^0\|^2 = 8/\sqrt{\eta f} + 2`.

**Direction.** Lower: the loss after the stated rounds is at least the one it started from, here by many powers of ten (measured
and predicted are in powers of ten).

**Source.** Derived here; limits Theorem A4.4, arXiv 2502.01755v4, whose global smoothness a product A B does not have.

**Derivation.** f is quadratic in a with Hessian :math:`f\|b\|^2 I`: :math:`a - a_{\min} \mapsto (1 - \eta f\|b\|^2)(a - a_{\min})`.
From that b^0 the first step on a makes it about :math:`8/\sqrt{\eta f}` long, then :math:`\eta f\|a\|^2 \approx 64` and b grows
sixtyfold: from there each factor's growth is the other's smoothness.

**Control.** A b^0 with :math:`\eta f\|b^0\|^2` a ten-thousandth of it: the loss falls at the same step.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.fresh_data import starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import EPS, Instances, Statement, at_least, equal

DRAWS, DIMENSION, OUTPUTS, ROUNDS = 12, 4, 3, 4
STEPS = (1e-3, 1e-2, 1e-1)  # eta; ||b*|| = 1, ||a*|| = 1


def _instances(key: Key, f: GradientFactor, eta: float, share: float) -> Instances:
    """The loss after some rounds from a share of that b^0, and the factor of the first step on a."""
    draw, power = key.fold("f", f, "eta", repr(eta)), share * (8 / np.sqrt(eta * f) + 2)
    a_star, b_star = unit_columns(draw.fold("a*"), DRAWS, DIMENSION), unit_columns(draw.fold("b*"), DRAWS, OUTPUTS)
    a0 = starts_at(draw.fold("a0"), a_star, 0.8)
    b0 = unit_columns(draw.fold("b0"), DRAWS, OUTPUTS) * np.sqrt(power / (eta * f))
    target = a_star @ np.swapaxes(b_star, 1, 2)
    data = planted(isotropic(DRAWS, 1, DIMENSION), a_star, np.swapaxes(b_star, 1, 2)[:, None], f)
    start = Layer(A=a0, B=np.swapaxes(b0, 1, 2))
    training = LocalTraining(eta_a=eta, eta_b=eta, exact=frozenset())
    path = [start, *rounds(data, ALGORITHMS["rolora"](), start, training, ROUNDS)]
    losses = [f / 2 * np.sum((layer.update - target) ** 2, axis=(1, 2)) for layer in path]
    # After round 0 b has moved; round 1 is the step on a, whose best value at this b is known.
    b = path[1].B
    best = target @ np.swapaxes(b, 1, 2) / np.sum(b**2, axis=(1, 2), keepdims=True)
    shrink = np.linalg.norm(path[2].A - best, axis=(1, 2)) / np.linalg.norm(path[1].A - best, axis=(1, 2))
    exact = np.abs(1 - eta * f * np.sum(b**2, axis=(1, 2)))
    for row in range(DRAWS):
        where = f"f={f}, eta={eta}, eta f ||b0||^2={power:.2g}, log10 of the loss after {ROUNDS} rounds"
        measured, predicted = np.log10(losses[-1][row]), np.log10(losses[0][row])
        yield at_least(measured, predicted, EPS, where)
        where = f"f={f}, eta={eta}, factor of the first step on a"
        yield equal(shrink[row], exact[row], 64 * EPS * (1 + exact[row]), where)


def check(key: Key, share: float = 1.0) -> Instances:
    """Three steps over two powers of ten: to each its own divergent start."""
    conventions: tuple[GradientFactor, ...] = (1, 2)
    return (i for f in conventions for eta in STEPS for i in _instances(key, f, eta, share))


def control(key: Key) -> Instances:
    """A b^0 a hundredth as long."""
    return check(key, 1e-4)


CLAIM = Statement(
    source="derived here; limits Theorem A4.4, arXiv 2502.01755v4 (global smoothness)",
    kind="bound",
    statement="L_A = f ||b||^2 has no bound: at every step size gradient descent in turns diverges from a large b^0",
    convention="both: f = 1 and f = 2",
)
