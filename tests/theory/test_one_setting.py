"""One setting: measurement against prediction, and a change of one number changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from theory.studies.one_setting import DIMENSION, ITERATIONS, Setting, account, draw, ratios


def test_a_changed_number_changes_nothing_else():
    model, a0 = draw(Setting())
    more, _ = draw(Setting(num_clients=50))
    np.testing.assert_array_equal(more.moments[:20], model.moments)
    turned, b0 = draw(Setting(degrees=30.0))
    np.testing.assert_array_equal(turned.moments, model.moments)
    off, less = (start - (start @ model.a_star) * model.a_star for start in (a0, b0))
    np.testing.assert_allclose(off / np.linalg.norm(off), less / np.linalg.norm(less), atol=1e-12)
    other, _ = draw(Setting(kappa=0.5))
    np.testing.assert_array_equal(other.b_star, model.b_star)
    assert not np.array_equal(draw(Setting(), seed=1)[0].moments, model.moments)


@pytest.mark.parametrize("degrees", [5.0, 30.0, 60.0, 85.0])
def test_ffa_lora_stays_at_the_angle_that_was_chosen(degrees):
    found = account(Setting(degrees=degrees, num_clients=1))
    np.testing.assert_allclose(found.angles["ffa-lora"], np.sin(np.radians(degrees)), rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.1, 0.25, 0.4])
def test_many_samples_follow_the_closed_form(kappa):
    found = account(Setting(kappa=kappa, num_clients=1, samples=200_000))
    # The data's own rate is off |1 - 2 kappa| by the error of its moments, of order 2 kappa sqrt(d / (N m)).
    noise = 2 * kappa * np.sqrt(DIMENSION / 200_000)
    assert abs(found.on_these_data - found.at_any_data) < 4 * noise
    np.testing.assert_allclose(found.ratios()[:10], found.ratios(predicted=True)[:10], atol=4 * noise)


@pytest.mark.parametrize(
    "setting", [Setting(num_clients=2, samples=500), Setting(kappa=0.4, num_clients=2, samples=200)]
)
def test_few_samples_follow_the_data_and_not_the_closed_form(setting):
    found = account(setting)
    assert abs(found.measured - found.on_these_data) < 0.5 * abs(found.measured - found.at_any_data)


def test_where_the_theory_says_that_these_data_diverge_they_do():
    found = account(Setting(kappa=0.9, num_clients=2, samples=500))
    assert found.at_any_data < 1 < found.on_these_data
    assert found.predicted[-1] < 1e-2 < found.angles["rolora"][-1]
    assert np.isnan(found.measured)


def test_the_claimed_factor_has_its_range():
    assert Setting(kappa=0.5, degrees=60.0).claim_covers and not Setting(kappa=1.2, degrees=60.0).claim_covers
    inside = account(Setting(kappa=0.5, degrees=60.0, num_clients=1))
    assert (inside.ratios(predicted=True) <= inside.claimed).all()
    beyond = account(Setting(kappa=1.2, degrees=15.0, num_clients=1))
    assert np.isnan(beyond.claimed), "a root of a negative number"


def test_ratios_end_where_rounding_begins():
    np.testing.assert_allclose(ratios([1.0, 0.0, 1e-3, 0.0, 1e-6, 0.0, 1e-13]), [1e-3, 1e-3])
    assert len(account(Setting(num_clients=2, samples=500)).ratios()) <= ITERATIONS
