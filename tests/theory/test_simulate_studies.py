"""The two studies of the linear model: contraction over the range of steps, and sample complexity."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import theory.__main__ as cli
from rolora.keys import Key
from theory.linear.bounds import largest_kappa
from theory.studies import contraction as simulate_contraction
from theory.studies import sample_complexity


@pytest.fixture(scope="module")
def contraction():
    return simulate_contraction.experiment(0, True, lambda share: None)


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


@pytest.mark.parametrize("study", [simulate_contraction, sample_complexity])
def test_a_study_repeats_itself_and_reports_its_progress(study):
    shares = []
    one, two = study.experiment(2, True, shares.append), study.experiment(2, True, lambda share: None)
    assert one == two
    assert one != study.experiment(3, True, lambda share: None)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("name", ["contraction", "sample_complexity"])
def test_the_command_writes_a_record_that_can_be_drawn(name, tmp_path):
    file = tmp_path / f"{name}.json"
    result = CliRunner().invoke(cli.app, ["simulate", name, "--quick", "--seed", "1", "--json", str(file)])
    assert result.exit_code == 0, result.output
    record = json.loads(file.read_text())
    assert set(record) == {"format", "experiment", "parameters", "seed", "command", "environment", "seconds", "series"}
    assert (record["format"], record["experiment"], record["seed"]) == (1, name, 1)
    assert record["command"] == f"python -m theory simulate {name} --seed 1 --quick"
    for series in record["series"]:
        assert {"panel", "algorithm", "local_update", "seed"} <= set(series)


@pytest.mark.parametrize("name", ["contraction", "sample_complexity"])
def test_images_are_for_the_nonlinear_model(name):
    result = CliRunner().invoke(cli.app, ["simulate", name, "--images", "digits"])
    assert result.exit_code == 2
    assert "--images: got 'digits', expected the model nonlinear" in result.stderr
