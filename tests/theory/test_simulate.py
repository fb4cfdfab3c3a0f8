"""The linear experiment, on a shortened run."""

from dataclasses import replace

import numpy as np
import pytest

from rolora.keys import Key
from theory.studies.linear import (
    EXACT,
    QUICK,
    LinearParameters,
    experiment,
    heterogeneous_trajectories,
    linear_trajectories,
    local_ratios,
)

KEY = Key(0).fold("tests", "simulate")
SIZES = replace(QUICK, num_rounds=60, local_steps=20, eta=0.03)


@pytest.fixture(scope="module")
def curves():
    series = linear_trajectories(KEY, 0, SIZES)
    return {(each["algorithm"], each["local_update"]): each for each in series}


def test_every_method_starts_from_the_same_point(curves):
    assert len({each["angle_distance"][0] for each in curves.values()}) == 1
    assert {each["relative_error"][0] for each in curves.values()} == {1.0}


def test_fedavg_lora_converges_on_the_linear_model_too(curves):
    steps = f"{SIZES.local_steps} gradient steps"
    assert curves["fedavg-lora", steps]["relative_error"][-1] < 1e-3
    assert curves["rolora", steps]["relative_error"][-1] < 1e-1
    assert curves["rolora", EXACT]["relative_error"][-1] < 1e-3


def test_ffa_lora_stays_at_its_floor(curves):
    series = curves["ffa-lora", EXACT]
    assert set(series["angle_distance"]) == set(series["predicted"])
    assert min(series["relative_error"][1:]) >= series["predicted"][0] * (1 - 1e-14)


def test_algorithm_2_moves_a_in_every_second_round_only(curves):
    angles, predicted = curves["rolora", EXACT]["angle_distance"], curves["rolora", EXACT]["predicted"]
    assert angles[0] == angles[1] and angles[2] == angles[3]
    assert predicted[0] == predicted[1] > predicted[2] == predicted[3]


def test_heterogeneous_rolora_stops_near_its_predicted_floor():
    series = {each["algorithm"]: each for each in heterogeneous_trajectories(KEY, 0, replace(QUICK, num_rounds=120))}
    floor = series["rolora"]["predicted"][-1]
    # A root mean square over data: one draw of d - 1 = 19 normal numbers lies within a factor of two.
    assert floor / 2 < series["rolora"]["angle_distance"][-1] < 2 * floor
    assert series["rolora"]["heterogeneity"] > 0


def test_the_measured_ratio_is_near_the_populations():
    p = LinearParameters(kappas=(0.1, 0.3, 0.7), num_clients=10)
    series = local_ratios(KEY, 0, p)
    noise = 2 * np.sqrt(p.dimension / (p.num_clients * p.ratio_samples))
    for kappa, measured, predicted in zip(series["kappa"], series["measured"], series["predicted"], strict=True):
        assert abs(measured - predicted) < 2 * kappa * 2 * noise


def test_the_experiment_repeats_itself_and_reports_its_progress():
    shares = []
    one, two = experiment(2, True, shares.append), experiment(2, True, lambda share: None)
    assert one == two
    assert shares[-1] == 1.0
