"""The benchmark compares equal things; how long they take is not a test's business."""

import json

import numpy as np
from typer.testing import CliRunner

import theory.__main__ as cli
import theory.studies.speed
from rolora.keys import Key
from theory.linear import model as linear
from theory.linear import rounds
from theory.studies.speed import bare_loop, bench, machine, script


def test_the_bare_loop_is_algorithm_2():
    a_star, b_star = linear.random_truth(Key(0), 5, 3)
    model = linear.sample(Key(1), 3, 8, a_star, b_star, 1)
    a0 = np.eye(5)[0]
    expected = rounds.alt_min_gd(model, a0, 0.1, 4).a[-1]
    np.testing.assert_allclose(bare_loop(model, a0, 0.1, 4), expected, atol=1e-14)


def test_the_script_on_the_data_is_algorithm_2():
    a_star, b_star = linear.random_truth(Key(0), 5, 3)
    model = linear.sample(Key(1), 3, 8, a_star, b_star, 2)
    inputs = linear.sample_inputs(Key(1), 3, 8, 5)
    a0 = np.eye(5)[0]
    expected = rounds.alt_min_gd(model, a0, 0.1, 4).a[-1]
    found = script(inputs, inputs @ np.outer(a_star, b_star), a0, 0.1, 4)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_the_record_holds_every_side_and_their_difference():
    record = bench(1, instances=4, clients=3, dimension=5, samples=12, outputs=2, iterations=3)
    assert record["difference"] < 1e-13
    for side, ratio in record["ratio"].items():
        assert ratio == record["seconds"][side] / record["seconds"]["batched"]
    visits = 4 * 3 * 3
    assert record["flops"] * record["seconds"]["batched"] == np.float64(visits * (4 * 25 + 4 * 5 * 2))


def test_the_machine_is_measured_in_positive_rates():
    assert all(rate > 0 for rate in machine(20).values())


def test_the_command_prints_all_sides_and_writes_the_record(tmp_path, monkeypatch):
    small = bench(0, instances=2, clients=2, dimension=3, samples=5, outputs=1, iterations=1)
    monkeypatch.setattr(theory.studies.speed, "bench", lambda seed: small)
    result = CliRunner().invoke(cli.app, ["bench", "--json", str(tmp_path / "bench.json")])
    assert result.exit_code == 0, result.output
    assert all(side in result.stdout for side in ("rounds", "script", "statistics", "batched", "Gflop/s"))
    assert json.loads((tmp_path / "bench.json").read_text())["ratio"] == small["ratio"]
