r"""The linear model separates RoLoRA from FFA-LoRA.

**Statement.** After the same :math:`2T + 1` rounds from the same start on the same data, with
:math:`T \ge \log(1000\sqrt2\,\delta_0)/(\kappa c_0)`, RoLoRA's product error is at most 1e-3 of ||b*||, and FFA-LoRA's is
at least :math:`\delta_0`.

**Assumptions.** Homogeneous heads and :math:`\kappa < 1/2`, by construction. ||S - I|| and RoLoRA's |xi-bar| at most
:math:`c_0/6`, measured at every iterate down to 1e-9. FFA-LoRA solves its b-step exactly, which is the best it can do.

**Direction.** Lower: of FFA-LoRA's error, attained up to :math:`\sqrt{1 + \bar\xi^2}`. RoLoRA's part is an upper bound and
loose by many orders.

**Source.** Theorem 4.5 with Proposition 4.6, arXiv 2502.01755v4 (as quoted elsewhere), put together here.

**Derivation.** With a^0 frozen, :math:`\|a^0 b^T - a^* b^{*T}\|_F \ge \delta_0\|b^*\|` for every b: the part of a* that is
orthogonal to a^0 is out of reach. RoLoRA's error is :math:`\sqrt{1 + \bar\xi^2}\,\delta_T\|b^*\|`, the root is below
:math:`\sqrt2`, and :math:`\delta_T \le \delta_0 e^{-\kappa c_0 T}` (claim ``iterations-to-accuracy``).

**Control.** FedAvg-LoRA in FFA-LoRA's place, which trains a and passes below any such floor.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.assumptions import kappa as measured_kappa
from theory.linear.assumptions import moment_error, overlap, xi
from theory.linear.geometry import angle_distance, normalise, random_unit, start_at
from theory.linear.model import sample
from theory.linear.rounds import alt_min_gd, local_update, relative_error, rounds
from theory.verification.claim import EPS, Instances, Statement, at_least, at_most

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, STEPS, CONVERGED = 5, 3000, 6, 4, 10, 1e-3
STEP, ETA = 0.45, 0.05  # kappa of Algorithm 2's single step on a, and the step size of FedAvg-LoRA's ten
DELTAS = (0.5, 0.8)


def _instances(key: Key, delta0: float, method: str) -> Instances:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    b_star = normalise(key.fold("b*").generator().standard_normal(OUTPUTS))
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    a0 = start_at(key.fold("a0"), a_star, delta0)
    kappa, c0 = measured_kappa(model, STEP), overlap(model, a0)
    stated = int(np.ceil(np.log(np.sqrt(2) * delta0 / CONVERGED) / (kappa * c0)))
    run = alt_min_gd(model, a0, STEP, stated + 1)
    # At a* itself xi has no direction, and within rounding of a* none that is known.
    noise = max(abs(float(np.mean(xi(model, a)))) for a in run.a if angle_distance(a, a_star) > 1e-9)
    met = max(moment_error(model), noise) <= c0 / 6
    where = f"N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, delta0={delta0}, {2 * stated + 1} rounds"
    reached = relative_error(Layer(run.a[stated][:, None], run.b[stated][None, :]), model)
    yield at_most(reached, CONVERGED, EPS * DIMENSION, f"rolora, {where}", met)
    start = Layer(a0[:, None], np.zeros((1, OUTPUTS)))
    update = local_update(model, ETA, STEPS, exact_b=method == "ffa-lora")
    *_, (layer, _) = rounds(model, ALGORITHMS[method](), start, update, 2 * stated + 1)
    yield at_least(relative_error(layer, model), delta0, EPS * DIMENSION, f"{method}, {where}", met)


def check(key: Key) -> Instances:
    """FFA-LoRA from two starts, two models each."""
    cases = [(number, delta0) for number in range(2) for delta0 in DELTAS]
    return (i for n, d0 in cases for i in _instances(key.fold("instance", n, "delta0", repr(d0)), d0, "ffa-lora"))


def control(key: Key) -> Instances:
    """FedAvg-LoRA from one start."""
    return _instances(key, DELTAS[0], "fedavg-lora")


CLAIM = Statement(
    source="arXiv 2502.01755v4, Theorem 4.5 with Proposition 4.6 (as quoted elsewhere)",
    kind="bound",
    statement="on the linear model RoLoRA's product error falls below 1e-3 ||b*||, FFA-LoRA's stays above delta_0 ||b*||",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
