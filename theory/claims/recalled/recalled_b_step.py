r"""The recalled bound of the averaged b-step, and how many samples its probability takes.

**Statement.** :math:`\|\bar b - (a^T a^*) b^*\| \le \epsilon'\delta\|b^*\|` for a independent of the data, except with
probability :math:`2q^{-10}`, if :math:`Nm \ge 4(10\log q + \log 2)/\epsilon'^2` and :math:`m \ge 16(10\log q + \log N)`.

**Assumptions.** Gaussian data, a independent of them: by construction.

**Direction.** Upper. The count of failures stays some fifty times below the bound, whose variance 2/(Nm) is generous.

**Source.** The lemma before Lemma 4.4, arXiv 2502.01755v4 (constants recalled; unverified).

**Corrected.** As recalled, :math:`m \ge Cq` with a constant C is enough,
:math:`q = \max(\log N/\min(\epsilon_1, \epsilon_2)^2,\ d\log(2/\epsilon_0)/\epsilon_2^2)` and
:math:`\epsilon' = \epsilon_2/((1 - \epsilon_0)(1 - \epsilon_1))`. No constant is: :math:`\epsilon'\sqrt m` does not depend on
:math:`\epsilon_2`, so neither does the probability of failing, in the limit, while :math:`q^{-10}` tends to zero with it.
The factor :math:`\log q` is what is missing.

**Derivation.** The norm is exactly :math:`\delta|\bar\xi|\|b^*\|`. Given the :math:`X_i a` the mean noise is normal with a
variance of at most 2/(Nm) unless some :math:`\|X_i a\|^2 < m/2`, so
:math:`P(|\bar\xi| > \epsilon') \le 2e^{-\epsilon'^2 Nm/4} + Ne^{-m/16}`. From below, each :math:`\xi_i` is
:math:`t_m/\sqrt m`, whose tail is above the normal one, and all of them exceed :math:`\epsilon'` at once with the N-th
power of theirs: :math:`P \ge 2(1 - \Phi(\epsilon'\sqrt m))^N`.

**Test.** Failures counted (Clopper-Pearson, confidence 0.9999) against that bound where it is large enough to be seen:
12,000 draws without a failure exclude a probability of 8e-4, and nothing smaller. At the stated sizes each of its two terms
is at most :math:`q^{-10}`; that at :math:`m = Cq` the probability is larger is seen on the closed form, in powers of ten.

**Control.** The pooled sample size a sixteenth of the stated one.
"""

import numpy as np
from scipy import stats

from rolora.keys import Key
from theory.linear.ensemble_rounds import solve_b
from theory.linear.fresh_data import fresh, starts_at, unit_columns
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most
from theory.verification.statistics import clopper_pearson_upper

RUNS, DELTA, EPS0, EPS1 = 12_000, 0.6, 0.25, 0.25
SIZES = ((1, 300), (3, 100), (10, 150))  # N, m


def _counted(key: Key, num_clients: int, samples: int, share: float) -> Instance:
    """Failures at eps' = 2 sqrt(log(2/0.05)/(N m)), where the first term of the bound is 0.05."""
    noise = 2 * np.sqrt(np.log(40) / (num_clients * samples))
    stated = 0.05 + num_clients * np.exp(-samples / 16)
    a_star = unit_columns(key.fold("a*"), RUNS, 2)
    a = starts_at(key.fold("a"), a_star, DELTA)
    used = round(share * samples)
    data = fresh(key.fold("data"), num_clients, used, a_star, np.ones((1, 1, 1, 1)), 2)(0)
    target = np.sum(a * a_star, axis=1)
    deviation = np.abs(np.mean(solve_b(data, a[:, None])[:, :, 0], axis=1) - target)
    failures = int(np.sum(deviation > noise * DELTA))
    where = f"N={num_clients}, m={used}, eps'={noise:.3f}: {failures} of {RUNS} draws failed"
    return at_most(clopper_pearson_upper(failures, RUNS), stated, EPS, where)


def _recalled(constant: float, num_clients: int, dimension: int, eps2: float) -> Instance:
    """m = C q: log10 of the lower bound of the probability, which must be below that of 2 q^-10."""
    least = max(np.log(num_clients) / min(EPS1, eps2) ** 2, dimension * np.log(2 / EPS0) / eps2**2)  # q
    noise = eps2 / ((1 - EPS0) * (1 - EPS1))
    logarithm = np.log(2) + num_clients * stats.norm.logsf(noise * np.sqrt(constant * least))
    predicted = np.log10(2) - 10 * np.log10(least)
    where = f"N={num_clients}, d={dimension}, eps2={eps2:g}, m={constant:g} q, log10 of the probability"
    return at_most(logarithm / np.log(10), predicted, 8 * EPS * abs(predicted), where)


def check(key: Key, share: float = 1.0) -> Instances:
    """Counted for three sizes."""
    return (_counted(key.fold("N", n), n, m, share) for n, m in SIZES)


def printed(key: Key) -> Instances:
    """As recalled for three constants, all of which must fail."""
    recalled = [_recalled(constant, 2, 2, 1e-100) for constant in (1.0, 4.0, 16.0)]
    return recalled if all(instance.excess > 1 for instance in recalled) else []


def control(key: Key) -> Instances:
    """A sixteenth of the samples."""
    return check(key, 1 / 16)


CLAIM = Statement(
    source="lemma before Lemma 4.4, arXiv 2502.01755v4 (recalled; unverified); sample size corrected here",
    kind="high probability",
    statement="||b-bar - (a^T a*) b*|| <= eps' delta ||b*|| but for 2 q^-10, at N m >= 4 (10 log q + log 2)/eps'^2, not m >= C q",
    convention="none: the exact b-step is that of any normalisation",
    expected="holds with the stated correction",
)
