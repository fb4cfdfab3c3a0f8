"""Intervals and paired tests against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rolora.evaluation.intervals import paired, student, wilson


@pytest.mark.parametrize(("right", "questions"), [(0, 10), (3, 10), (10, 10), (250, 1000)])
def test_wilson_bounds_are_where_the_score_test_has_196(right, questions):
    low, high = wilson(right, questions)
    share = right / questions
    for bound in (low, high):
        if 0 < bound < 1:
            assert abs(share - bound) / math.sqrt(bound * (1 - bound) / questions) == pytest.approx(1.959964, rel=1e-5)
    assert 0 <= low <= share <= high <= 1
    assert high > low


def test_paired_counts_what_changed_and_p_is_the_two_sided_sign_test():
    before = [True] * 10 + [True, False, False, False, False, False] + [False] * 4
    after = [True] * 10 + [False, True, True, True, True, True] + [False] * 4
    comparison = paired(before, after)
    assert (comparison.gained, comparison.lost, comparison.questions) == (5, 1, 20)
    assert comparison.difference == pytest.approx(comparison.after - comparison.before)
    assert comparison.p == pytest.approx(2 * sum(math.comb(6, k) for k in (0, 1)) / 2**6)
    assert comparison.interval[0] < comparison.difference < comparison.interval[1]


def test_paired_without_a_change_has_p_one_and_an_interval_about_zero():
    comparison = paired([True, False] * 5, [True, False] * 5)
    assert (comparison.p, comparison.difference) == (1.0, 0.0)
    assert comparison.interval[0] == pytest.approx(-comparison.interval[1])
    assert comparison.interval[1] > 0


def test_students_interval_is_scipys_own():
    values = [0.71, 0.75, 0.74, 0.78]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    interval = student(values)
    assert (interval.mean - interval.half_width, interval.mean + interval.half_width) == pytest.approx((low, high))
