r"""The recalled deviation of the averaged gradient, in both conventions, and which mean it is a deviation from.

**Statement.** :math:`\|\nabla - E[\nabla \mid \bar b]\| \le f\,e\,(\epsilon'^2 + 1)\,\delta\|b^*\|^2` with
:math:`\epsilon' = |\bar\xi|` and e for the recalled :math:`\tilde\epsilon`: the recalled 2 is the gradient factor.

**Assumptions.** The mean is over new inputs at the same :math:`\bar b`; e and the mean noise are measured.

**Direction.** Upper; nearly attained in two dimensions.

**Source.** The lemma before Lemma 4.4, arXiv 2502.01755v4 (recalled; unverified).

**Corrected.** Nothing, if the mean is that one. Taken over :math:`\bar b` too, as the population's gradient with the
population's b-step, the bound is false: the b-step's own noise moves the gradient by a term of size
:math:`|\bar\xi|\,\delta`, which is missing (the control).

**Derivation.** The averaged gradient is :math:`f\|b^*\|^2\bar\rho\,S(\bar\rho a - a^*)`; new inputs replace S by I. The
difference is at most :math:`f\|b^*\|^2 e|\bar\rho|\|\bar\rho a - a^*\|`, with :math:`|\bar\rho| \le \sqrt{1 + \bar\xi^2}` and
:math:`\|\bar\rho a - a^*\| = \delta\sqrt{1 + \bar\xi^2}`.

**Control.** The mean over the b-step as well.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import Ensemble, isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, solve_b
from theory.linear.fresh_data import fresh, mean_noise, pooled_error, starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import EPS, Instances, Statement, at_most

DRAWS, DELTAS = 60, (0.05, 0.5, 0.95)
SIZES = ((1, 8, 2), (3, 10, 2), (5, 40, 10))  # N, m, d


def _gradient(data: Ensemble, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The clients' mean gradient of a, as the negative of one local step of size 1."""
    stepped = LocalTraining(eta_a=1.0)(data, Layer(A=a[:, None], B=b[:, None]), frozenset({"A"}))
    return a - np.mean(stepped.A, axis=1)


def check(key: Key, b_is_given: bool = True) -> Instances:
    """Three sizes, three angles, both conventions."""
    conventions: tuple[GradientFactor, ...] = (1, 2)
    for number, (n, m, d) in enumerate(SIZES):
        for delta, f in ((delta, f) for delta in DELTAS for f in conventions):
            draw = key.fold("size", number, "delta", repr(delta), "f", f)
            a_star, b_star = unit_columns(draw.fold("a*"), DRAWS, d), np.array([[[[0.6, -0.8]]]])
            a = starts_at(draw.fold("a"), a_star, delta)
            data = fresh(draw.fold("data"), n, m, a_star, b_star, f)(0)
            limit = planted(isotropic(DRAWS, 1, d), a_star, np.broadcast_to(b_star, (DRAWS, 1, 1, 2)), f)
            b = np.mean(solve_b(data, a[:, None]), axis=1)
            mean_b = b if b_is_given else solve_b(limit, a[:, None])[:, 0]
            deviation = np.linalg.norm(_gradient(data, a, b) - _gradient(limit, a, mean_b), axis=(1, 2))
            e, noise = pooled_error(data), mean_noise(data, a, a_star)
            bounds = f * e * (noise**2 + 1) * delta  # ||b*|| = 1
            slack = 16 * EPS * (n + d) * (1 + e) * (1 + noise**2)
            where = f"N={n}, m={m}, d={d}, f={f}, delta={delta}"
            yield from (at_most(*row, where) for row in zip(deviation, bounds, slack, strict=True))


def control(key: Key) -> Instances:
    """The population's gradient at the population's b-step."""
    return check(key, b_is_given=False)


CLAIM = Statement(
    source="lemma before Lemma 4.4, arXiv 2502.01755v4 (recalled; unverified); derived here",
    kind="bound",
    statement="||grad - E grad|| <= f e (eps'^2 + 1) delta ||b*||^2, the mean at fixed b-bar; f is the recalled 2",
    convention="both: f = 1 for (1/(2m))||.||^2, f = 2 for (1/m)||.||^2",
)
