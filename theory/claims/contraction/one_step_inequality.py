r"""One iteration on any finite data, deterministically.

**Statement.** With :math:`e = \|S - I\|`, :math:`\bar\rho` and :math:`\bar\xi` of the b-step,

.. math::
    \delta^+ \le \delta\,\frac{|1 - 2\kappa\bar\rho^2| + 2\kappa|\bar\rho|\,e\sqrt{1 + \bar\xi^2}}
    {1 - 2\kappa|\bar\rho|\,\delta\,(|\bar\xi| + e\sqrt{1 + \bar\xi^2})}.

**Assumptions.** Equal heads, by construction; a positive denominator, measured. Nothing on the data or on kappa. Counted are
instances whose bound is below 1: others are true of every angle and no evidence.

**Direction.** Upper. Attained in the population as delta -> 0; on these instances it comes within a hundredth of equality
at the closest, and the median is 0.6 of it.

**Source.** Derived here; the deterministic part of Lemma 4.4, arXiv 2502.01755v4 (as quoted elsewhere).

**Derivation.** Before normalising, :math:`a' = a - 2\kappa\bar\rho\,S(\bar\rho a - a^*)`. Projected off a*, the terms with
S = I give :math:`(1 - 2\kappa\bar\rho^2)\delta`, and those with S - I at most
:math:`2\kappa|\bar\rho| e\,\|\bar\rho a - a^*\| = 2\kappa|\bar\rho| e\,\delta\sqrt{1 + \bar\xi^2}`. Divide by
:math:`\|a'\| \ge a^T a'`, where :math:`a^T(\bar\rho a - a^*) = \delta\bar\xi`.

**Control.** The noise of the second moments dropped, e = 0 on the right.
"""

from rolora.keys import Key
from theory.linear.assumptions import kappa as measured_kappa
from theory.linear.assumptions import moment_error, rho, xi
from theory.linear.bounds import one_step
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import random_truth, sample
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

SIZES = [(2, 3, 2), (5, 10, 3), (10, 40, 8), (3, 400, 20)]  # N, m, d
DELTAS = (0.02, 0.4, 0.9)


def _instance(key: Key, number: int, noise_kept: bool) -> Instance:
    n, m, d = SIZES[number % len(SIZES)]
    a_star, b_star = random_truth(key.fold("truth"), d, 3)
    model = sample(key.fold("data"), n, m, a_star, b_star, 2)
    a0 = start_at(key.fold("a0"), a_star, DELTAS[number % len(DELTAS)])
    eta = float(key.fold("eta").generator().uniform(0.02, 1.2)) / float(b_star @ b_star)
    kappa, delta = measured_kappa(model, eta), float(angle_distance(a0, a_star))
    error = moment_error(model) if noise_kept else 0.0
    bound = one_step(delta, kappa, float(rho(model, a0).mean()), float(xi(model, a0).mean()), error)
    after = float(angle_distance(alt_min_gd(model, a0, eta, 1).a[-1], a_star))
    where = f"N={n}, m={m}, d={d}, delta={delta:.2f}, kappa={kappa:.2f}"
    # A bound above 1 is true of every angle, so it is not counted as evidence.
    return at_most(after, bound, EPS * (n + d), where, met=bound < 1)


def check(key: Key) -> Instances:
    """Random models of four sizes, steps up to kappa = 1.2; counted where the bound is below 1."""
    return (_instance(key.fold("instance", number), number, True) for number in range(300))


def control(key: Key) -> Instances:
    """Without the second moments' noise."""
    return (_instance(key.fold("instance", number), number, False) for number in range(60))


CLAIM = Statement(
    source="derived here; the deterministic part of Lemma 4.4, arXiv 2502.01755v4",
    kind="bound",
    statement="delta+ <= delta (|1 - 2k rho^2| + 2k|rho|e sqrt(1+xi^2)) / (1 - 2k|rho|delta(|xi| + e sqrt(1+xi^2)))",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
