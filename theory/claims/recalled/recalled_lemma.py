r"""The recalled contraction lemma: what its assumptions on the data imply, and for which steps.

**Statement.** If :math:`e = \|S - I\| \le c_0/16`, :math:`|\bar\xi| \le c_0/16` and :math:`\delta \le \delta_0`, then
:math:`\delta^+ \le \delta\sqrt{1 - \kappa c_0}`: for :math:`\kappa \le 0.99` if the gradient carries the factor 1, for
:math:`\kappa \le 1 - c_0/3` if it carries 2.

**Assumptions.** e, the mean noise and the angle are measured on each instance.

**Direction.** Upper; loose for small steps, where the ratio is nearer to :math:`1 - f\kappa` than to :math:`1 - \kappa c_0/2`.

**Source.** arXiv 2502.01755v4, Lemmas 4.3 and 4.4; range and constants recalled; unverified.

**Corrected.** As recalled, :math:`\kappa \le 1`: too far by :math:`c_0/4` at factor 2 even in the population. At factor 1
it fails for :math:`\delta_0 < 1/16`: at :math:`\kappa = 1` the population's ratio is zero, the data's is e, and e may be
:math:`c_0/16 > \delta_0 = \sqrt{1 - \kappa c_0}`. Both ends move inwards by what the noise takes.

**Derivation.** With :math:`h = f\kappa`, :math:`e' = e\sqrt{1 + \bar\xi^2}` the one-step inequality gives :math:`\delta^+/\delta
\le (|1 - h\bar\rho^2| + h|\bar\rho|e')/(1 - h|\bar\rho|\delta(|\bar\xi| + e'))`. It grows with e; its largest value at
:math:`e = c_0/16` over a grid of :math:`\delta \le \delta_0` and :math:`|\bar\xi| \le c_0/16` is held against the factor too.

**Control.** The corrected steps with data four times as noisy as assumed.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import contraction
from theory.linear.ensemble import planted
from theory.linear.fresh_data import angle_path, mean_noise, pooled_error, starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most, judge

STARTS, SHARES = (0.01, 0.05, 0.2, 0.6, 0.95, 0.999), (1e-3, 0.3, 1.0)  # delta_0, and delta over delta_0
STEPS, DRAWS = (0.1, 0.5, 0.9, 1.0), 30  # kappa over the range's end; d = 2, the plane of a* and p


def _runs(key: Key, kappa: float, delta0: float, f: GradientFactor, noise: float) -> Instances:
    """One iteration on S = I + e R, R a reflection in the plane of a* and p: all of e where it matters."""
    a_star, c0 = unit_columns(key.fold("a*"), DRAWS, 2), 1 - delta0**2
    e = noise * c0 / 16
    for share in SHARES:
        a = starts_at(key.fold("a", repr(share)), a_star, share * delta0)
        axis = unit_columns(key.fold("mirror", repr(share)), DRAWS, 2)
        sign = np.where(np.arange(DRAWS) % 2, 1.0, -1.0)[:, None, None]
        # A tenth inside, so that xi, which is a little above e in places, meets its assumption too.
        moments = np.eye(2) + 0.9 * e * sign * (np.eye(2) - 2 * axis @ np.swapaxes(axis, 1, 2))
        data = planted(moments[:, None], a_star, np.ones((DRAWS, 1, 1, 1)), f)
        path = angle_path(data, a, a_star, kappa, 1)
        met = (pooled_error(data) <= e) & (np.abs(mean_noise(data, a, a_star)) <= e)
        slack = 16 * EPS / (share * delta0)
        where = f"f={f}, delta0={delta0}, kappa={kappa:.3f}, delta={share * delta0:.2g}, e={0.9 * e:.2g}"
        pairs = zip(path[:, 1] / path[:, 0], met, strict=True)
        yield from (at_most(ratio, contraction(kappa, c0), slack, where, bool(ok)) for ratio, ok in pairs)


def _inequality(kappa: float, delta0: float, f: GradientFactor) -> Instance:
    c0, step = 1 - delta0**2, f * kappa
    delta, xi = np.meshgrid(delta0 * np.linspace(0, 1, 81), c0 / 16 * np.linspace(-1, 1, 21))
    rho, noise = np.sqrt(1 - delta**2) + delta * xi, c0 / 16 * np.sqrt(1 + xi**2)
    bound = (np.abs(1 - step * rho**2) + step * rho * noise) / (1 - step * rho * delta * (np.abs(xi) + noise))
    return at_most(
        np.max(bound), contraction(kappa, c0), 8 * EPS, f"inequality, f={f}, delta0={delta0}, kappa={kappa:.3f}"
    )


def _instances(key: Key, f: GradientFactor, printed: bool, noise: float = 1.0) -> Instances:
    for delta0 in STARTS:
        end = 1.0 if printed else 0.99 if f == 1 else 1 - (1 - delta0**2) / 3
        for share in STEPS:
            yield from _runs(key.fold("f", f, "delta0", repr(delta0)), share * end, delta0, f, noise)
            yield from [] if printed or noise > 1 else [_inequality(share * end, delta0, f)]


def check(key: Key, noise: float = 1.0) -> Instances:
    """Both conventions, six starts, four steps to the corrected ranges' ends."""
    return (i for f in (1, 2) for i in _instances(key, f, printed=False, noise=noise))


def printed(key: Key) -> Instances:
    """The printed range, which must fail in both conventions."""
    fails = all(judge(_instances(key, f, printed=True)).verdict == "refuted" for f in (1, 2))
    return [at_most(float(fails), 0.0, EPS, "printed range, both conventions")]


def control(key: Key) -> Instances:
    """e and the mean noise up to c0/4."""
    return check(key, noise=4.0)


CLAIM = Statement(
    source="arXiv 2502.01755v4, Lemmas 4.3 and 4.4 (range and constants recalled; unverified); range corrected here",
    kind="bound",
    statement="e, |xi| <= c0/16: delta+ <= delta sqrt(1 - kappa c0), kappa <= 0.99 (f=1), 1 - c0/3 (f=2), not kappa <= 1",
    convention="both: f = 1 for (1/(2m))||.||^2, f = 2 for (1/m)||.||^2",
    expected="holds with the stated correction",
)
