r"""The gradients that train the two-layer ReLU model are derivatives of its loss.

**Statement.** For :math:`\ell(A, B)`, the mean cross-entropy of :math:`\mathrm{ReLU}(x A B) W_\mathrm{out}`, a direction V of
one factor and a step h without a change of sign of any pre-activation,

.. math::
    \Big|\frac{\ell(\cdot + hV) - \ell(\cdot - hV)}{2h} - \langle\nabla\ell, V\rangle\Big|
    \le \frac{h^2}{6}\,\frac{R^3}{6\sqrt 3}

with R the largest range, over images, of the logits' derivative along V, and :math:`\nabla_B = (xA)^\top G`,
:math:`\nabla_A = x^\top G B^\top`, :math:`G = [(p - y) W_\mathrm{out}^\top] \odot 1[x A B > 0]/n`.

**Assumptions.** Every pre-activation keeps its sign on [-h, h]. It is linear in the step (one factor moves), so this is
measured at the two ends; an instance that crosses a kink is not counted.

**Direction.** Upper: the third derivative is bounded by its largest value over all distributions. The slack is the
rounding of the two losses divided by h.

**Source.** Derived here.

**Derivation.** With fixed signs the logits are z + s v, and along s the loss of one image is a log-sum-exp less a linear
term. Its third derivative is the third central moment of v under the softmax, at most :math:`R^3/(6\sqrt 3)` for a
variable of range R (two points, at the probability that maximises p(1 - p)(1 - 2p)). The central difference errs by
:math:`h^2/6` of the largest third derivative.

**Control.** The same formulas without the slope of ReLU, the gradient of the linear network x A B W_out.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.nonlinear.model import gradients
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

SIZES = [(3, 6, 2, 5), (7, 12, 4, 8), (16, 30, 6, 20)]  # images a batch, d, r, hidden units
CLASSES, STEP = 10, 2e-3  # at this step the bound is well above the rounding of a loss divided by it


def _instance(key: Key, number: int, factor: str, with_slope: bool) -> Instance:
    n, d, r, k = SIZES[number % len(SIZES)]
    stream = key.generator()
    layer = Layer(stream.standard_normal((d, r)) / np.sqrt(d), stream.standard_normal((r, k)) / np.sqrt(r))
    readout, pixels = stream.standard_normal((k, CLASSES)), stream.standard_normal((n, d))
    targets = np.eye(CLASSES)[stream.integers(CLASSES, size=n)]
    direction = stream.standard_normal(getattr(layer, factor).shape)
    direction /= np.linalg.norm(direction)

    def at(step: float) -> Layer:
        moved = {"A": layer.A, "B": layer.B} | {factor: getattr(layer, factor) + step * direction}
        return Layer(**moved)

    signs = [pixels @ at(step).A @ at(step).B > 0 for step in (-STEP, 0.0, STEP)]
    losses = [float(gradients(at(step), readout, pixels, targets, frozenset())[0]) for step in (STEP, -STEP)]
    difference = (losses[0] - losses[1]) / (2 * STEP)
    tangent = pixels @ (direction @ layer.B if factor == "A" else layer.A @ direction)
    if with_slope:
        slope = gradients(layer, readout, pixels, targets, frozenset("AB"))[1][factor]
    else:
        slope = _without_slope(layer, readout, pixels, targets, factor, signs[1])
    ranges = np.ptp((tangent * signs[1]) @ readout, axis=1)
    bound = STEP**2 / 6 * float(ranges.max()) ** 3 / (6 * np.sqrt(3))
    # A logit is a sum of k products, each of sums of d and r; a loss is known to its largest logit times that rounding.
    largest = float(np.linalg.norm(pixels, axis=1).max() * np.linalg.norm(layer.A) * np.linalg.norm(layer.B))
    slack = EPS * (d + r + k + CLASSES) * (1 + largest * float(np.linalg.norm(readout))) / STEP
    error = abs(difference - float((slope * direction).sum()))
    met = bool((signs[0] == signs[1]).all() and (signs[2] == signs[1]).all())
    return at_most(error, bound, slack, f"{factor}, n={n}, d={d}, r={r}, k={k}", met)


def _without_slope(
    layer: Layer, readout: np.ndarray, pixels: np.ndarray, targets: np.ndarray, factor: str, active: np.ndarray
) -> np.ndarray:
    logits = (pixels @ layer.A @ layer.B * active) @ readout
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    signal = (shares - targets) @ readout.T / len(pixels)
    return (pixels @ layer.A).T @ signal if factor == "B" else pixels.T @ (signal @ layer.B.T)


def check(key: Key, count: int = 150, with_slope: bool = True) -> Instances:
    """150 instances a factor."""
    return (_instance(key.fold(factor, i), i, factor, with_slope) for factor in "AB" for i in range(count))


def control(key: Key) -> Instances:
    """The formulas without the slope of ReLU."""
    return check(key, 30, with_slope=False)


CLAIM = Statement(
    source="derived here; model of arXiv 2502.01755, section 4.2",
    kind="bound",
    statement="central difference of the two-layer model's loss less <gradient, V> <= h^2 R^3 / (36 sqrt 3), signs fixed",
    convention="mean cross-entropy",
)
