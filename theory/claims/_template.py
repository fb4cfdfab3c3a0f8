r"""A step that is not too large brings a closer to a*. (Copy this file; the first line says in words what is claimed.)

**Statement.** :math:`\delta^+ \le \delta` for all :math:`\kappa \le 1`.

**Assumptions.** The population, S_i = I, by construction; :math:`\kappa \le 1`, measured on each instance.

**Direction.** Upper. Attained as delta -> 0 at kappa = 1, and as kappa -> 0.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** With :math:`x = \cos^2\theta`, :math:`(\delta^+/\delta)^2 = (1 - 2\kappa x)^2/(1 + 4\kappa^2 x(1 - x))`. That
this is at most 1 is :math:`2\kappa x \le 1 + \kappa`, which :math:`\kappa \le 1` and :math:`x \le 1` imply.

**Control.** kappa = 1.5, the assumption dropped: close to a* every step then leads away from it.
"""

from rolora.keys import Key
from theory.linear.assumptions import kappa as measured_kappa
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

CLIENTS, DIMENSION, OUTPUTS, LARGEST = 2, 5, 3, 1.0  # LARGEST: the kappa up to which the statement speaks
DELTAS = (0.1, 0.5, 0.9)


def _instance(key: Key, delta0: float, kappa: float, largest: float) -> Instance:
    """One iteration from one start: the angle distance after it, against the one before."""
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, OUTPUTS)
    model = population(CLIENTS, a_star, b_star, 2)
    a0, eta = start_at(key.fold("a0"), a_star, delta0), kappa / float(b_star @ b_star)
    before, after = (float(delta) for delta in angle_distance(alt_min_gd(model, a0, eta, 1).a, a_star))
    # An angle distance is a norm in d dimensions after a step of length kappa: so much rounding, and no more.
    slack = EPS * DIMENSION * (1 + kappa)
    # The assumption is measured: an instance that does not meet it is not counted.
    met = measured_kappa(model, eta) <= largest
    return at_most(after, before, slack, f"delta={delta0}, kappa={kappa}", met)


def check(key: Key) -> Instances:
    """Three starts and four steps."""
    cases = [(delta0, kappa) for delta0 in DELTAS for kappa in (0.05, 0.3, 0.6, 0.95)]
    return (_instance(key.fold("instance", i), *case, LARGEST) for i, case in enumerate(cases))


def control(key: Key) -> Instances:
    """The same starts at kappa = 1.5."""
    return (_instance(key.fold("instance", i), delta0, 1.5, 2.0) for i, delta0 in enumerate(DELTAS))


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="bound",
    statement="population: delta+ <= delta for all kappa <= 1",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
