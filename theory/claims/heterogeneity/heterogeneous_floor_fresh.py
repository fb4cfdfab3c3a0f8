r"""With different heads and data drawn anew, Algorithm 2 ends in a floor that the step size sets.

**Statement.** :math:`E\,\delta_\infty^2 \approx \frac{f\kappa}{2 - f\kappa}\,\frac{s^2}{\|\bar b^*\|^4}\,\frac{d - 1}{Nm}` to first
order: the floor of fixed data times :math:`\sqrt{f\kappa/(2 - f\kappa)}`, which is :math:`\sqrt{\kappa/(1 - \kappa)}` for f = 2.

**Assumptions.** :math:`0 < f\kappa < 2`; d/(Nm) small, its size the slack; stationarity, as many iterations as make
:math:`(1 - f\kappa)^{2T} < 10^{-6}`.

**Direction.** Tight to first order in d/(Nm).

**Source.** Derived here; limits the heterogeneous appendix of arXiv 2502.01755v4 (recalled; unverified).

**Derivation.** Near a* an iteration on fresh data is :math:`h^+ = (1 - f\kappa)h - f\kappa g`, g independent in every
iteration with :math:`E\|g\|^2 = F^2`, the square of fixed data's floor (claim ``heterogeneous-floor``). In the stationary
state :math:`E\|h\|^2 = (1 - f\kappa)^2E\|h\|^2 + (f\kappa)^2F^2`. Small steps average over iterations, large ones add noise.

**Test.** Monte Carlo mean of the last delta squared over its prediction; Student's interval, and d/(Nm) over
:math:`2 - f\kappa` for the relative terms left out.

**Control.** The floor of fixed data, without the step's factor.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import heterogeneous_floor
from theory.linear.fresh_data import angle_path, fresh, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import Instance, Instances, Statement, equal_mean

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, MODELS = 2, 20_000, 6, 4, 1000
CASES: list[tuple[GradientFactor, float]] = [(2, 0.15), (2, 0.5), (2, 0.8), (1, 0.5), (1, 1.6)]


def _instance(key: Key, f: GradientFactor, kappa: float, models: int, with_step: bool) -> Instance:
    a_star = unit_columns(key.fold("a*"), models, DIMENSION)
    heads = 1.0 + 0.5 * key.fold("heads").generator().standard_normal((CLIENTS, OUTPUTS))
    mean = np.mean(heads, axis=0)
    power = float(mean @ mean)
    variance = float(np.mean((heads @ mean - power) ** 2))
    step, rows = f * kappa, CLIENTS * SAMPLES
    factor = step / (2 - step) if with_step else 1.0
    floor = factor * heterogeneous_floor(variance, float(np.sqrt(power)), DIMENSION, rows) ** 2
    # The transient is over when its square is a millionth; at f kappa = 1 at once.
    iterations = 1 + int(np.ceil(np.log(1e-6) / (2 * np.log(max(abs(1 - step), 1e-3)))))
    data = fresh(key.fold("data"), CLIENTS, SAMPLES, a_star, heads[None, :, None], f)
    ratios = angle_path(data, a_star, a_star, kappa / power, iterations)[:, -1] ** 2 / floor
    where = f"f={f}, kappa={kappa}, N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, {models} runs"
    return equal_mean(ratios, 1.0, where, beyond=DIMENSION / rows / (2 - step) + 1e-6)


def check(key: Key) -> Instances:
    """Five steps in both conventions, started at a*."""
    return (_instance(key.fold("case", i), f, kappa, MODELS, True) for i, (f, kappa) in enumerate(CASES))


def control(key: Key) -> Instances:
    """The same steps without the factor."""
    return (_instance(key.fold("case", i), f, kappa, 200, False) for i, (f, kappa) in enumerate(CASES))


CLAIM = Statement(
    source="derived here; limits the heterogeneous appendix of arXiv 2502.01755v4 (recalled, unverified)",
    kind="measurement",
    statement="fresh data, heads b_i*: E delta_inf^2 = f k/(2 - f k) times the fixed-data floor's square (measured: ratio)",
    convention="both: f = 1 for (1/(2m))||.||^2, f = 2 for (1/m)||.||^2",
)
