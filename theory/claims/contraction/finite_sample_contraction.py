r"""Contraction at finite samples with fresh data, with a probability whose constants are explicit.

**Statement.** Let :math:`\tau = (\sqrt d + s)/\sqrt{Nm}`. If :math:`2\tau + \tau^2` and :math:`s\sqrt{2/(Nm)}` are at most
:math:`c_0/6` and :math:`\kappa \le 1/(2(1 + s^2 \cdot 2/(Nm)))`, then :math:`\delta^{t+1} \le \delta^t (1 - \kappa c_0)`
for all t < T except with probability at most :math:`T (4e^{-s^2/2} + N e^{-m/16})`.

**Assumptions.** Gaussian data, fresh in every iteration, by construction; the three inequalities, measured.

**Direction.** Upper: of the failures. It is loose, as both union bounds and c_0/6 leave room: no run fails.

**Source.** Derived here; replaces Lemma 4.4's probability, arXiv 2502.01755v4 (recalled, unverified).

**Derivation.** Singular values of the pooled Gaussian matrix give :math:`e \le 2\tau + \tau^2` except with
:math:`2e^{-s^2/2}`. Each :math:`\|X_i a\|^2 \ge m/2` except with :math:`e^{-m/16}`; then the mean of the xi_i is normal with a
variance of at most 2/(Nm), and exceeds :math:`s\sqrt{2/(Nm)}` with at most :math:`2e^{-s^2/2}`. With both at most
:math:`c_0/6`, :math:`2\kappa\rho^2 \le 1`, and the one-step inequality gives the factor if
:math:`2|\rho|\,(|\rho| - e\sqrt{1 + \xi^2}(1 + \delta) - \delta|\xi|) \ge c_0`. With :math:`g = \sqrt{c_0}` and
:math:`g\delta \le 1/2`, :math:`|\rho| \ge g - \delta g^2/6 \ge \frac{11}{12}g`, the bracket is at least 0.62 g, and
2 · 11/12 · 0.62 > 1. A union over the T iterations. What is needed is **pooled**: N m of order d, and m of order log N.

**Test.** Failures of independent runs; measured is the Clopper-Pearson upper limit (confidence 0.9999).

**Control.** The step condition dropped, kappa = 1.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import failure_probability
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.geometry import angle_distance, normalise, start_at
from theory.verification.claim import EPS, Instances, Statement, at_most
from theory.verification.statistics import clopper_pearson_upper

CLIENTS, SAMPLES, DIMENSION, ITERATIONS, RUNS = 2, 5000, 4, 3, 4000
DELTA0, DEVIATION = 0.5, 4.0  # delta_0 and s


def _failures(key: Key, kappa: float, runs: int) -> int:
    """Return the number of independent runs that miss the factor in some iteration."""
    a_star, c0 = normalise(np.ones(DIMENSION)), 1 - DELTA0**2
    a = np.tile(start_at(key.fold("a0"), a_star, DELTA0), (runs, 1))  # Gaussian data know no direction
    failed = np.zeros(runs, dtype=bool)
    for t in range(ITERATIONS):
        moments, _ = draw_moments(key.fold("iteration", t), runs, CLIENTS, SAMPLES, DIMENSION)
        model = planted(moments, a_star[None, :, None], np.ones((1, CLIENTS, 1, 1)), 2)
        after = alt_min_gd(model, a[:, :, None], kappa, 1).a[:, -1, :, 0]
        bound = angle_distance(a, a_star) * (1 - kappa * c0) + EPS * DIMENSION
        failed |= angle_distance(after, a_star) > bound
        a = after
    return int(np.sum(failed))


def check(key: Key, kappa: float = 0.49, runs: int = RUNS, step_condition: bool = True) -> Instances:
    """kappa close to the end of its range."""
    c0, rows = 1 - DELTA0**2, CLIENTS * SAMPLES
    tau, noise = (np.sqrt(DIMENSION) + DEVIATION) / np.sqrt(rows), DEVIATION * np.sqrt(2 / rows)
    met = bool(2 * tau + tau**2 <= c0 / 6 and noise <= c0 / 6)
    met = met and bool(kappa <= 1 / (2 * (1 + noise**2)) or not step_condition)
    failures = _failures(key, kappa, runs)
    stated = failure_probability(DEVIATION, CLIENTS, SAMPLES, ITERATIONS)
    where = f"N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, kappa={kappa}, T={ITERATIONS}: {failures} of {runs} runs failed"
    return [at_most(clopper_pearson_upper(failures, runs), stated, EPS, where, met)]


def control(key: Key) -> Instances:
    """kappa = 1."""
    return check(key, 1.0, RUNS, step_condition=False)


CLAIM = Statement(
    source="derived here; replaces Lemma 4.4's probability, arXiv 2502.01755v4 (recalled, unverified)",
    kind="high probability",
    statement="fresh data: delta^(t+1) <= delta^t (1 - kappa c0), t < T, but for T (4 exp(-s^2/2) + N exp(-m/16))",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
