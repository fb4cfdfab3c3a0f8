r"""With different heads, an arbitrary accuracy at a fixed sample size is not reached.

**Statement.** As in the homogeneous case, Algorithm 2 on fixed data with heads b_i* reaches every epsilon:
:math:`\delta_T \le \delta_0 (1 - \kappa c_0)^{T/2}` for all T, with :math:`\kappa = \eta\|\bar b^*\|^2`.

**Assumptions.** Ample data, :math:`\|S - I\| \le c_0/6`, measured, and a small step, by construction, so that the
homogeneous model meets the bound.

**Direction.** Upper, as stated; what is measured stops orders of magnitude above it.

**Source.** The heterogeneous appendix of arXiv 2502.01755v4 (recalled, unverified).

**Corrected.** Refuted: the same rate holds in the population (claim ``heterogeneous-limit``), and on fixed data up to the
floor of claim ``heterogeneous-floor``, which falls only as more samples are pooled.

**Derivation.** The noise of the averaged gradient does not vanish at a = a*, so a* is not a fixed point.

**Control.** A spread of the heads ten times as large. The contrast is a spread of zero, where the same comparison holds.
"""

from rolora.keys import Key
from theory.linear.assumptions import heterogeneity, moment_error, overlap
from theory.linear.bounds import contraction
from theory.linear.geometry import angle_distance, random_unit, start_at
from theory.linear.model import sample
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

CLIENTS, SAMPLES, DIMENSION, OUTPUTS = 3, 3000, 6, 4
DELTA0, KAPPA, ITERATIONS = 0.5, 0.25, 150


def _instance(key: Key, spread: float) -> Instance:
    """One model: the final angle distance against the claimed bound."""
    a_star = random_unit(key.fold("a*"), DIMENSION)
    rows = 1.0 + spread * key.fold("heads").generator().standard_normal((CLIENTS, OUTPUTS))
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, rows, 2)
    a0 = start_at(key.fold("a0"), a_star, DELTA0)
    run = alt_min_gd(model, a0, KAPPA / float(model.b_mean @ model.b_mean), ITERATIONS)
    c0 = overlap(model, a0)
    bound = DELTA0 * contraction(KAPPA, c0) ** ITERATIONS
    where = f"N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, V={heterogeneity(model):.2g}, delta after {ITERATIONS}"
    return at_most(
        float(angle_distance(run.a[-1], a_star)), bound, EPS * DIMENSION, where, met=moment_error(model) <= c0 / 6
    )


def check(key: Key) -> Instances:
    """Moderately different heads."""
    return (_instance(key.fold("instance", number), 0.1) for number in range(2))


def control(key: Key) -> Instances:
    """Very different heads."""
    return [_instance(key, 1.0)]


def contrast(key: Key) -> Instances:
    """Equal heads."""
    return [_instance(key, 0.0)]


CLAIM = Statement(
    source="arXiv 2502.01755v4, heterogeneous appendix (recalled, unverified)",
    kind="bound",
    statement="fixed data, heads b_i*: delta_T <= delta_0 (1 - kappa c0)^(T/2) for all T, so every epsilon is reached",
    convention="loss (1/m)||.||^2, gradient factor 2 (kappa = 1/4 lies in the range of both)",
    expected="refuted",
)
