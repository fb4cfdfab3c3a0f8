"""The studies of the linear model: trajectories, contraction over the range of steps, sample complexity; their records."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import theory.__main__ as cli
from rolora.keys import Key
from theory.linear.bounds import largest_kappa
from theory.studies import contraction as contraction_study
from theory.studies import linear as linear_study
from theory.studies import sample_complexity
from theory.studies.linear import (
    EXACT,
    QUICK,
    LinearParameters,
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


@pytest.fixture(scope="module")
def contraction():
    return contraction_study.experiment(0, True, lambda share: None)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_population_leaves_the_claimed_factor_where_the_range_ends(contraction, factor):
    (series,) = [
        one for one in contraction["series"] if (one["data"], one["gradient_factor"]) == ("population", factor)
    ]
    assert series["range_end"] == largest_kappa(0.64, factor)
    for kappa, worst, local, claimed in zip(
        *(series[name] for name in ("kappa", "worst", "local", "claimed")), strict=True
    ):
        assert worst >= local
        assert local == pytest.approx(abs(1 - factor * kappa), abs=1e-5)
        # The smallest angle stands for the limit, from which it is a millionth away.
        assert claimed is None or (worst <= claimed + 1e-5) == (kappa <= series["range_end"])
    assert series["kappa"][-1] > series["range_end"]


def test_fixed_data_scatter_about_the_population(contraction):
    found = {(one["gradient_factor"], one["seed"]): one for one in contraction["series"]}
    for (factor, seed), one in found.items():
        if seed is not None:
            expected = np.abs(1 - factor * np.array(one["kappa"]))
            # Noise of the size f kappa sqrt(d/(N m)), about 0.12 at f kappa = 1.
            assert np.all(np.abs(np.array(one["local"]) - expected) < 0.6 * factor * np.array(one["kappa"]))


def test_pooled_samples_decide_the_ratio():
    key = Key(0).fold("tests", "pool")
    found = [sample_complexity.ratio(key.fold(n), n, 512 // n, 8, 400) for n in (1, 8, 32)]
    # Means of 400 squares whose relative deviation is about a half.
    np.testing.assert_allclose(found, np.sqrt(8 / 512), rtol=0.1)


def test_the_needed_pool_grows_with_the_dimension():
    p = replace(sample_complexity.QUICK, instances=200)
    series = sample_complexity.needed_series(Key(1), 0, 4, p)
    np.testing.assert_allclose(series["measured"], series["predicted"], rtol=0.25)
    assert series["slope"] == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("study", [linear_study, contraction_study, sample_complexity])
def test_a_study_repeats_itself_and_reports_its_progress(study):
    shares = []
    record = study.experiment(2, True, shares.append)
    assert record == study.experiment(2, True, lambda share: None)
    assert record != study.experiment(3, True, lambda share: None)
    assert shares == sorted(shares) and shares[-1] == 1.0


@pytest.mark.parametrize("name", ["linear", "contraction", "sample_complexity"])
def test_the_command_writes_a_record_that_can_be_drawn(name, tmp_path):
    file = tmp_path / f"{name}.json"
    result = CliRunner().invoke(cli.app, ["simulate", name, "--quick", "--seed", "1", "--json", str(file)])
    assert result.exit_code == 0, result.output
    record = json.loads(file.read_text())
    assert set(record) == {"format", "experiment", "parameters", "seed", "command", "environment", "seconds", "series"}
    assert (record["format"], record["experiment"], record["seed"]) == (1, name, 1)
    assert record["command"] == f"python -m theory simulate {name} --seed 1 --quick"
    assert set(record["environment"]["packages"]) == {"numpy", "scipy"}
    for series in record["series"]:
        assert {"panel", "algorithm", "local_update", "seed"} <= set(series)
    if name == "linear":
        check_the_panels(record["series"], record["parameters"]["num_rounds"])


def check_the_panels(all_series, rounds):
    for series in all_series:
        if series["panel"] in ("trajectories", "heterogeneous"):
            assert series["rounds"] == list(range(rounds + 1))
            for name in ("angle_distance", "relative_error", "predicted"):
                assert series[name] is None or len(series[name]) == rounds + 1
        elif series["panel"] == "local-ratio":
            assert len(series["kappa"]) == len(series["measured"]) == len(series["predicted"])
        else:
            assert len(series["theta"]) == len(series["predicted"])


@pytest.mark.parametrize("name", ["linear", "contraction", "sample_complexity"])
def test_images_are_for_the_nonlinear_model(name):
    result = CliRunner().invoke(cli.app, ["simulate", name, "--images", "digits"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "--images: got 'digits', expected the model nonlinear" in result.stderr
