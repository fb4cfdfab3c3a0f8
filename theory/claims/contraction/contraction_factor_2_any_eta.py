r"""The recalled statement that any step size up to 1/L_max^2 contracts at the claimed rate: false at gradient factor 2.

**Statement.** For every :math:`\eta \le 1/L_{max}^2`, Algorithm 2 keeps
:math:`\delta_t \le \delta_0 (1 - \kappa c_0)^{t/2}`, :math:`\kappa = \eta\|b^*\|^2`, :math:`c_0 = 1 - \delta_0^2`.

**Assumptions.** :math:`\|b^*\| \le L_{max}` by construction; ample data, :math:`\|S - I\| \le c_0/6`, and
:math:`c_0 > 0`, measured, so that no sample-size condition can be the reason.

**Direction.** Upper, as stated; what is measured exceeds it by more than twenty orders of magnitude.

**Source.** arXiv 2502.01755v4, Lemma 4.4 (the factor as quoted elsewhere; range and convention recalled, unverified).

**Corrected.** Refuted for the loss (1/m)||.||^2. There the range is :math:`\kappa \le 1 - c_0/4` (claim
``contraction-factor-2``); with gradient factor 1 the statement stands (claim ``contraction-factor-1``).

**Derivation.** Near a* one iteration multiplies delta by :math:`|1 - 2\kappa|` (claim ``local-ratio``), which exceeds
:math:`\sqrt{1 - \kappa c_0}` as soon as :math:`\kappa > 1 - c_0/4`. At kappa = 1, allowed here, the local ratio is 1.

**Control.** A step beyond the stated range. The contrast is the same comparison at gradient factor 1, where it holds.
"""

from rolora.keys import Key
from theory.linear.assumptions import kappa as measured_kappa
from theory.linear.assumptions import moment_error, overlap
from theory.linear.bounds import contraction
from theory.linear.geometry import angle_distance, normalise, random_unit, start_at
from theory.linear.model import GradientFactor, sample
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

DIMENSION, CLIENTS, SAMPLES, DELTA0, ITERATIONS = 10, 10, 2000, 0.6, 100


def _instance(key: Key, step: float, factor: GradientFactor) -> Instance:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    b_star = normalise(key.fold("b*").generator().standard_normal(DIMENSION))  # ||b*|| = L_max = 1
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, factor)
    a0 = start_at(key.fold("a0"), a_star, DELTA0)
    c0, kappa = overlap(model, a0), measured_kappa(model, step)
    final = float(angle_distance(alt_min_gd(model, a0, step, ITERATIONS).a[-1], a_star))
    bound = DELTA0 * contraction(min(kappa, 1 / c0), c0) ** ITERATIONS
    where = f"d={DIMENSION}, N={CLIENTS}, m={SAMPLES}, delta0={DELTA0}, kappa={kappa:.2f}, delta after {ITERATIONS}"
    return at_most(final, bound, EPS * DIMENSION, where, met=c0 > 0 and moment_error(model) <= c0 / 6)


def check(key: Key) -> Instances:
    """Steps up to 1/L_max^2."""
    return (_instance(key.fold("eta", i), step, 2) for i, step in enumerate((0.5, 1.0)))


def control(key: Key) -> Instances:
    """A step beyond the stated range."""
    return [_instance(key, 1.5, 2)]


def contrast(key: Key) -> Instances:
    """The stated range at gradient factor 1."""
    return (_instance(key.fold("eta", i), step, 1) for i, step in enumerate((0.5, 1.0)))


CLAIM = Statement(
    source="arXiv 2502.01755v4, Lemma 4.4 (factor as quoted elsewhere, range recalled; unverified)",
    kind="bound",
    statement="any eta <= 1/L_max^2 gives delta_t <= delta_0 (1 - eta (1 - delta_0^2) ||b*||^2)^(t/2)",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="refuted",
)
