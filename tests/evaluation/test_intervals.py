"""Intervals, paired tests and pass@k against their definitions."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from rolora.evaluation.intervals import paired, pass_at_k, student, wilson


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
    found = paired(before, after)
    assert (found.gained, found.lost, found.questions) == (5, 1, 20)
    assert found.difference == pytest.approx(found.after - found.before)
    assert found.p == pytest.approx(2 * sum(math.comb(6, k) for k in (0, 1)) / 2**6)
    assert found.interval[0] < found.difference < found.interval[1]


def test_paired_without_a_change_has_p_one_and_an_interval_about_zero():
    found = paired([True, False] * 5, [True, False] * 5)
    assert (found.p, found.difference) == (1.0, 0.0)
    assert found.interval[0] == pytest.approx(-found.interval[1])
    assert found.interval[1] > 0


@pytest.mark.parametrize(("samples", "right", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (4, 4, 2), (6, 5, 3)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(samples, right, k):
    draws = list(combinations([True] * right + [False] * (samples - right), k))
    assert pass_at_k(samples, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_students_interval_is_scipys_own():
    values = [0.71, 0.75, 0.74, 0.78]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    interval = student(values)
    assert (interval.mean - interval.half_width, interval.mean + interval.half_width) == pytest.approx((low, high))
