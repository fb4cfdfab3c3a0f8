"""Intervals and tests against exact probabilities and known distributions."""

import numpy as np
import pytest
from scipy import stats

from rolora.keys import Key
from theory.verification.statistics import (
    Interval,
    clopper_pearson,
    clopper_pearson_upper,
    ks_critical,
    ks_distance,
    mean_interval,
    slope,
    t_over_root_m_cdf,
)

KEY = Key(0).fold("tests", "statistics")


@pytest.mark.parametrize(("k", "n"), [(0, 20), (1, 20), (7, 50), (50, 50)])
def test_clopper_pearson_inverts_the_binomial_tails(k, n):
    interval = clopper_pearson(k, n, 0.9)
    assert interval.low <= k / n <= interval.high
    if k < n:
        assert stats.binom.cdf(k, n, interval.high) == pytest.approx(0.05, rel=1e-9)
    if k > 0:
        assert stats.binom.sf(k - 1, n, interval.low) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5])
def test_the_upper_limit_covers_at_its_confidence(p):
    # Exact coverage: the probability of the counts whose limit lies at or above p.
    n = 40
    covered = sum(stats.binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson_upper(k, n, 0.95) >= p)
    assert covered >= 0.95


def test_impossible_counts_are_refused():
    for k, n in [(-1, 5), (6, 5), (0, 0)]:
        with pytest.raises(ValueError):
            clopper_pearson(k, n)


def test_the_t_distribution_is_accepted_and_the_normal_rejected():
    stream, m, n = KEY.generator(), 3, 5000
    draws = stream.standard_normal(n) / np.sqrt(stream.chisquare(m, n))
    assert ks_distance(draws, t_over_root_m_cdf(m)) < ks_critical(n, 1e-3)
    assert ks_distance(draws, stats.norm(scale=m**-0.5).cdf) > ks_critical(n, 1e-3)


def test_the_critical_distance_has_its_level():
    assert stats.kstwo.sf(ks_critical(500, 0.01), 500) == pytest.approx(0.01, rel=1e-4)


def test_the_mean_interval_covers_at_its_confidence():
    draws = KEY.generator().standard_normal((4000, 6))
    covered = [abs(interval.estimate) <= interval.half_width for interval in (mean_interval(x, 0.9) for x in draws)]
    assert abs(np.mean(covered) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 4000)
    with pytest.raises(ValueError):
        mean_interval(np.ones(1))


def test_the_slope_of_a_noisy_line_lies_in_its_interval():
    x = np.arange(30.0)
    fit = slope(x, 2 * x + KEY.generator().standard_normal(30))
    assert fit.low < 2 < fit.high
    assert slope(x, -3 * x).half_width < 1e-12
    with pytest.raises(ValueError):
        slope(x[:2], x[:2])


def test_the_half_width_is_the_larger_side():
    assert Interval(0.0, -3.0, 1.0).half_width == 3
