"""Intervals and tests, apart from what they are applied to and from how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from rolora.adapter import Array
from rolora.evaluation.intervals import student, student_quantile

CONFIDENCE = 0.9999
"""Of the intervals in checks by simulation: a true statement is rejected in one run of ten thousand."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Example:
        >>> Interval(1.0, 0.5, 2.0).half_width
        1.0
    """

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The larger of the two distances from the estimate to an end."""
        return max(self.high - self.estimate, self.estimate - self.low)


def clopper_pearson(failures: int, trials: int, confidence: float = 0.95) -> Interval:
    r"""The exact interval of a probability, :math:`P(\mathrm{Bin}(n, p) \le k)` and :math:`\ge k` each at half the risk.

    Args:
        failures: k, 0 <= k <= n.
        trials: n, independent and at least 1.
        confidence: of the two-sided interval.

    Returns:
        k/n with an interval that covers p with at least the given confidence, whatever p is.

    Raises:
        ValueError: k is outside 0 ... n.

    Example:
        >>> round(clopper_pearson(0, 100).high, 4)
        0.0362

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413.
    """
    if not 0 <= failures <= trials or trials < 1:
        raise ValueError(f"{failures} failures in {trials} trials")
    half = (1 - confidence) / 2
    low = 0.0 if failures == 0 else float(stats.beta.ppf(half, failures, trials - failures + 1))
    high = 1.0 if failures == trials else float(stats.beta.ppf(1 - half, failures + 1, trials - failures))
    return Interval(failures / trials, low, high)


def clopper_pearson_upper(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper limit of a probability at the given confidence (the two-sided interval at twice the risk).

    Args:
        failures: k.
        trials: n.
        confidence: that the probability lies below the limit.

    Example:
        >>> round(clopper_pearson_upper(0, 100, 0.95), 4)
        0.0295
    """
    return clopper_pearson(failures, trials, 1 - 2 * (1 - confidence)).high


def ks_distance(sample: Float[Array, "n"], cdf: Callable[[Array], Array]) -> float:
    r"""The Kolmogorov-Smirnov distance :math:`\sup_x |F_n(x) - F(x)|`.

    Args:
        sample: independent draws.
        cdf: F, continuous.

    Returns:
        A number in [1/(2n), 1].

    Example:
        >>> ks_distance(np.array([0.5]), stats.uniform.cdf)
        0.5
    """
    return float(stats.kstest(sample, cdf).statistic)


def ks_critical(size: int, level: float) -> float:
    """The distance that n draws from F exceed with probability ``level`` (exact distribution, two-sided).

    Args:
        size: n.
        level: the significance level, in (0, 1).

    Example:
        >>> round(ks_critical(10000, 0.05), 4)
        0.0136
    """
    return float(stats.kstwo.isf(level, size))


def t_over_root_m_cdf(degrees: int) -> Callable[[Array], Array]:
    r"""The distribution function of :math:`t_m / \sqrt m`, Student's t over the root of its degrees of freedom.

    Args:
        degrees: m >= 1; m = 1 is the Cauchy distribution.

    Example:
        >>> float(t_over_root_m_cdf(3)(np.array(0.0)))
        0.5
    """
    return stats.t(df=degrees, scale=degrees**-0.5).cdf


def mean_interval(sample: Float[Array, "n"], confidence: float = CONFIDENCE) -> Interval:
    r"""Student's interval of a mean, :math:`\bar x \pm t_{n-1}\, s/\sqrt n`.

    Args:
        sample: independent draws with a finite variance, at least 2.
        confidence: two-sided.

    Returns:
        The mean with its interval; exact for normal draws, asymptotic otherwise.

    Raises:
        ValueError: fewer than two draws.

    Example:
        >>> interval = mean_interval(np.array([1.0, 2.0, 3.0]), 0.95)
        >>> interval.estimate, round(interval.half_width, 3)
        (2.0, 2.484)
    """
    if np.size(sample) < 2:
        raise ValueError(f"an interval needs two draws, got {np.size(sample)}")
    result = student(sample.tolist(), confidence)
    return Interval(result.mean, result.mean - result.half_width, result.mean + result.half_width)


def slope(x: Float[Array, "n"], y: Float[Array, "n"], confidence: float = CONFIDENCE) -> Interval:
    r"""The least-squares slope of y against x, with Student's interval (n - 2 degrees of freedom).

    Args:
        x: at least three abscissae, not all equal.
        y: ordinates; independent errors of one variance.
        confidence: two-sided.

    Raises:
        ValueError: fewer than three points.

    Example:
        >>> round(slope(np.arange(4.0), 2 * np.arange(4.0) + 1).estimate, 12)
        2.0
    """
    if x.shape[0] < 3:
        raise ValueError(f"a slope with an interval needs three points, got {x.shape[0]}")
    fit = stats.linregress(x, y)
    half = student_quantile(x.shape[0] - 2, confidence) * float(fit.stderr)
    return Interval(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)
