r"""The noise of the exact b-step is Student's t over the root of its degrees of freedom.

**Statement.** :math:`\xi_i = (a^T S_i p)/(a^T S_i a) \sim t_m/\sqrt m`.

**Assumptions.** Entries of X_i are independent N(0, 1), and a is independent of X_i; by construction of the draws. (On
reused data every iterate after the first depends on X_i, and nothing is said of it.)

**Direction.** Tight: the whole distribution, for every m >= 1.

**Source.** Derived here, for the b-step of Algorithm 2, arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** u = X_i a and v = X_i p are independent N(0, I_m), as a and p are orthonormal. Given u, the quotient
:math:`u^T v/\|u\|^2` is :math:`N(0, 1/\|u\|^2)`: a standard normal over the root of an independent chi^2_m. Hence mean 0 and
variance 1/(m - 2), no variance for m = 2 and a Cauchy distribution for m = 1.

**Test.** Kolmogorov-Smirnov on independent clients, at level 1e-4 divided by the number of instances (Bonferroni);
measured is the distance, predicted the critical one.

**Control.** The normal distribution N(0, 1/m), the limit for large m, at small m.
"""

import numpy as np
from scipy import stats

from rolora.keys import Key
from theory.linear.assumptions import xi
from theory.linear.geometry import random_unit
from theory.linear.model import LinearModel, heads, second_moments
from theory.verification.claim import Instances, Statement, at_most
from theory.verification.statistics import ks_critical, ks_distance, t_over_root_m_cdf

SAMPLES, DRAWS, DIMENSION, LEVEL = (1, 2, 3, 10, 50), 20_000, 4, 1e-4


def _draws(key: Key, samples: int) -> np.ndarray:
    a_star, a = random_unit(key.fold("a*"), DIMENSION), random_unit(key.fold("a"), DIMENSION)
    inputs = key.fold("data").generator().standard_normal((DRAWS, samples, DIMENSION))
    return xi(LinearModel(second_moments(inputs), a_star, heads(np.ones(1), DRAWS), 2), a)


def check(key: Key, sizes: tuple[int, ...] = SAMPLES, cdf_of=t_over_root_m_cdf) -> Instances:
    """From m = 1, where there is no mean, to m = 50."""
    critical = ks_critical(DRAWS, LEVEL / len(sizes))
    # The test has no slack beyond its critical distance; the smallest positive number stands for none.
    none = float(np.finfo(np.float64).tiny)
    distances = {m: ks_distance(_draws(key.fold("m", m), m), cdf_of(m)) for m in sizes}
    return (at_most(distance, critical, none, f"m={m}, {DRAWS} draws") for m, distance in distances.items())


def control(key: Key) -> Instances:
    """The normal distribution at m = 3."""
    return check(key, (3,), lambda m: stats.norm(scale=m**-0.5).cdf)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="measurement",
    statement="xi_i is distributed as t_m / sqrt(m) for Gaussian inputs independent of a (KS distance, level 1e-4)",
    convention="none: a minimiser does not depend on the loss's scale",
)
