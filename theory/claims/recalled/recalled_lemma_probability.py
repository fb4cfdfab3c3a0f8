r"""The recalled contraction lemma's probability, with a sample size whose constants are explicit.

**Statement.** One iteration on fresh data has :math:`\delta^+ \le \delta\sqrt{1 - \kappa c_0}` (steps as in the claim
``recalled-lemma``) except with probability :math:`4e^{-s^2/2} + Ne^{-m/16}`, if
:math:`\sqrt{Nm} \ge (\sqrt d + s)/\tau_0`, :math:`\tau_0 = \sqrt{1 + c_0/16} - 1`. With
:math:`s^2 = 20\log q + 2\log 4` and :math:`m \ge 16(10\log q + \log N)` that is at most :math:`2q^{-10}`.

**Assumptions.** Gaussian data drawn anew, a independent of them: by construction; the sizes are those stated.

**Direction.** Upper; loose: the events hold with room for the contraction, and hardly a run fails.

**Source.** arXiv 2502.01755v4, Lemma 4.4; probability :math:`1 - 2q^{-10}` and q recalled; unverified.

**Corrected.** As recalled, :math:`m = \Omega(q)` a client. Derived is a pooled :math:`Nm` of order
:math:`(d + \log q)/c_0^2`, with :math:`\log q` where the recalled q has a constant (claim ``recalled-b-step``: for its b-step
no constant is enough).

**Derivation.** Singular values of the pooled Gaussian matrix: :math:`e \le 2\tau + \tau^2` with :math:`\tau =
(\sqrt d + s)/\sqrt{Nm} \le \tau_0`, so :math:`e \le c_0/16`, except with :math:`2e^{-s^2/2}`. And
:math:`|\bar\xi| \le s\sqrt{2/(Nm)} \le \sqrt2\,\tau_0 < c_0/16`, except with :math:`2e^{-s^2/2} + Ne^{-m/16}`.

**Test.** Runs in which the contraction or one of its two assumptions failed, counted (Clopper-Pearson, confidence 0.9999).
A thousand runs without a failure exclude a probability of 0.9 %: the bound is tested at s = 3 and 3.5, where it is
larger. :math:`2q^{-10}` (1e-40 at these sizes) is beyond any count, and rests on the derivation alone.

**Control.** One client alone with the samples a client that are stated for N: what has to be large enough is pooled.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import contraction, failure_probability
from theory.linear.fresh_data import angle_path, fresh, mean_noise, pooled_error, starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most
from theory.verification.statistics import clopper_pearson_upper

RUNS, DIMENSION = 2500, 4
CASES: list[tuple[GradientFactor, float, int, float]] = [(1, 0.3, 8, 3.0), (2, 0.3, 8, 3.5), (2, 0.8, 2, 3.0)]


def _counted(key: Key, f: GradientFactor, delta0: float, num_clients: int, s: float, present: int) -> Instance:
    """Failures of ``present`` clients with the samples a client that are stated for ``num_clients``."""
    c0 = 1 - delta0**2
    tau = np.sqrt(1 + c0 / 16) - 1
    samples = int(np.ceil((np.sqrt(DIMENSION) + s) ** 2 / (tau**2 * num_clients)))
    kappa = 0.99 if f == 1 else 1 - c0 / 3
    a_star = unit_columns(key.fold("a*"), RUNS, DIMENSION)
    a = starts_at(key.fold("a0"), a_star, delta0)
    data = fresh(key.fold("data"), present, samples, a_star, np.ones((1, 1, 1, 1)), f)
    path = angle_path(data, a, a_star, kappa, 1)
    holds = path[:, 1] <= path[:, 0] * contraction(kappa, c0) + EPS * DIMENSION
    met = (pooled_error(data(0)) <= c0 / 16) & (np.abs(mean_noise(data(0), a, a_star)) <= c0 / 16)
    failures, stated = int(np.sum(~(holds & met))), failure_probability(s, num_clients, samples, 1)
    where = (
        f"f={f}, N={present}, m={samples}, d={DIMENSION}, kappa={kappa:.2f}, s={s}: {failures} of {RUNS} runs failed"
    )
    return at_most(clopper_pearson_upper(failures, RUNS), stated, EPS, where)


def check(key: Key) -> Instances:
    """Three cases, at the ends of their ranges of steps."""
    return (_counted(key.fold("case", i), *case, present=case[2]) for i, case in enumerate(CASES))


def control(key: Key) -> Instances:
    """One client's samples alone."""
    return (_counted(key.fold("case", i), *case, present=1) for i, case in enumerate(CASES))


CLAIM = Statement(
    source="arXiv 2502.01755v4, Lemma 4.4 (probability and sample size recalled; unverified); derived here",
    kind="high probability",
    statement="fresh data, sqrt(N m) >= (sqrt d + s)/tau0: contraction but for 4 exp(-s^2/2) + N exp(-m/16), so for 2 q^-10",
    convention="both: f = 1 for (1/(2m))||.||^2, f = 2 for (1/m)||.||^2",
)
