r"""The paper's factor, transcribed to rank r: with sigma_r, and with the range of steps corrected.

**Statement.** In the population, with :math:`\delta` the sine of the largest principal angle, :math:`c_0 = 1 - \delta_0^2`
and :math:`f\eta\sigma_1^2 \le 1`, at every iterate

.. math::
    \delta^+ \le \delta\,(1 - f\eta\sigma_r^2 c_0) \le \delta\sqrt{1 - \eta\sigma_r^2 c_0}.

**Assumptions.** S_i = I, B* of full row rank, delta_0 < 1: by construction; c_0 is measured at the start of each run.

**Direction.** Upper; loose by what the angle has fallen since the start.

**Source.** Derived here; the factor is rank one's, Lemma 4.4 of arXiv 2502.01755v4 (as quoted elsewhere).

**Corrected.** As transcribed, :math:`\delta^+ \le \delta\sqrt{1 - \eta\sigma_r^2 c_0}` for :math:`\eta \le 1/\sigma_1^2`. At
f = 1 that is within the range above; at f = 2 it fails: near A* the angle along sigma_1 keeps its size at
:math:`\eta = 1/\sigma_1^2`. It can hold there only for :math:`\eta\sigma_1^2 \le 1 - c_0\sigma_r^2/(4\sigma_1^2)`, the
condition as delta -> 0; from 1/2 to there it is not decided here.

**Derivation.** By the claim rank-r-comparison :math:`\theta^+` is at most rank one's with :math:`\kappa_r = \eta\sigma_r^2`, so
:math:`\delta^+/\delta \le (1 - f\kappa_r x)/\sqrt{1 + f^2\kappa_r^2 x(1 - x)}` with :math:`x = \cos^2\theta \ge c_0`, and
:math:`(1 - f\kappa_r c_0)^2 \le 1 - f\kappa_r c_0`.

**Control.** The operator norm of B*, sigma_1, in the place of sigma_r.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.rank_r import population, principal_angles, random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, at_most

INSTANCES, ITERATIONS, PRODUCTS = 40, 8, 10
SPECTRA = [(2.0, 1.0), (1.0, 1.0, 1.0), (5.0, 2.0, 0.5)]
SHARES = (0.2, 0.6, 1.0)  # of the range's end


def _instances(key: Key, sigma: tuple[float, ...], shares: tuple[float, ...], form: str) -> Instances:
    rank = len(sigma)
    dimension = 2 * rank + 2
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, dimension, rank, sigma)
    right = np.linalg.svd(b_star)[0]
    angles = key.fold("angles").generator().uniform(1e-3, 1.5, (INSTANCES, rank))
    angles[::4, 1:] = 0.0  # off along u_1 alone, where the step is largest
    a0 = start_at(key.fold("a0"), a_star, right, angles)
    for factor in (1, 2):
        for share in shares:
            eta = share / ((1 if form == "printed" else factor) * sigma[0] ** 2)
            runs = alt_min_gd(population(a_star, b_star, factor), a0, eta, ITERATIONS)
            delta = np.sin(principal_angles(runs.a, a_star[:, None])[..., 0])
            kappa = eta * sigma[0 if form == "operator norm" else -1] ** 2
            c0 = 1 - delta[:, :1] ** 2
            bound = delta[:, :-1] * (np.sqrt(1 - kappa * c0) if form == "printed" else 1 - factor * kappa * c0)
            for (i, t), after in np.ndenumerate(delta[:, 1:]):
                slack = PRODUCTS * dimension * EPS / float(np.sqrt(1 - delta[i, t] ** 2))
                where = f"{form}, sigma={sigma}, f={factor}, eta sigma_1^2={eta * sigma[0] ** 2:.2f}, delta={delta[i, t]:.3f}"
                yield at_most(float(after), float(bound[i, t]), slack, where, met=bool(c0[i, 0] > 0))


def check(key: Key, form: str = "corrected") -> Instances:
    """Steps up to the end of the corrected range."""
    return (i for n, sigma in enumerate(SPECTRA) for i in _instances(key.fold("spectrum", n), sigma, SHARES, form))


def printed(key: Key) -> Instances:
    """The same shares of the printed range."""
    return check(key, "printed")


def control(key: Key) -> Instances:
    """sigma_1 for sigma_r."""
    return _instances(key, SPECTRA[0], SHARES, "operator norm")


CLAIM = Statement(
    source="factor: Lemma 4.4, arXiv 2502.01755v4 (as quoted elsewhere), transcribed; range and sigma_r derived here",
    kind="bound",
    statement="delta+ <= delta (1 - f eta c0 sigma_r^2) <= delta sqrt(1 - eta c0 sigma_r^2); correction: f eta sigma_1^2 <= 1",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
    expected="holds with the stated correction",
)
