"""The commands of ``python -m theory``, run in this process."""

import json

import pytest
from typer.testing import CliRunner

import theory.__main__ as cli
from rolora.errors import InputError
from theory.claim import Claim, Result

FAST = ["interference-identity", "communication-halved"]
FIELDS = {
    "id", "source", "convention", "kind", "direction", "statement", "measured", "predicted", "where", "verdict", "expected",
    "control_verdict", "instances", "seed", "seconds",
}  # fmt: skip


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_list_shows_every_claim():
    result = invoke("list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in cli.registry())


def test_check_prints_the_verdicts_and_writes_the_record(tmp_path):
    file = tmp_path / "claims.json"
    result = invoke("check", *FAST, "--json", file, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in FAST)
    records = json.loads(file.read_text())
    assert [record["id"] for record in records] == FAST
    for record in records:
        assert set(record) == FIELDS
        assert record["seed"] == 3
        assert record["verdict"] == record["expected"] == "holds"
        assert record["control_verdict"] == "refuted"
        assert record["instances"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["claims.json"]


def test_an_unknown_id_is_one_line_and_status_2():
    result = invoke("check", "no-such-claim")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "no-such-claim" in result.stderr
    assert "interference-identity" in result.stderr


def test_debug_shows_the_traceback():
    assert isinstance(invoke("check", "no-such-claim", "--debug").exception, InputError)


def test_a_directory_in_place_of_a_file_is_refused_before_the_work(tmp_path):
    result = invoke("check", *FAST, "--json", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "expected a file name" in result.stderr


@pytest.mark.parametrize(("check", "control"), [("refuted", "refuted"), ("holds", "holds"), ("not run", "refuted")])
def test_a_surprise_is_status_1(monkeypatch, check, control):
    def result(verdict):
        return lambda key: Result(1.0, 2.0, verdict, 1, "somewhere")

    claim = Claim("made-up", "none", "bound", "upper", "", "", "holds", result(check), result(control))
    monkeypatch.setattr(cli, "select", lambda ids: [claim])
    outcome = invoke("check")
    assert outcome.exit_code == 1
    assert "made-up" in outcome.stderr


def test_simulate_linear_writes_a_record_that_can_be_drawn(tmp_path):
    file = tmp_path / "linear.json"
    assert invoke("simulate", "linear", "--quick", "--seed", 1, "--json", file).exit_code == 0
    record = json.loads(file.read_text())
    assert set(record) == {"format", "experiment", "parameters", "seed", "command", "environment", "seconds", "series"}
    assert (record["format"], record["experiment"], record["seed"]) == (1, "linear", 1)
    assert set(record["environment"]["packages"]) == {"numpy", "scipy"}
    rounds = record["parameters"]["num_rounds"]
    for series in record["series"]:
        assert {"panel", "algorithm", "local_update", "seed"} <= set(series)
        if series["panel"] in ("trajectories", "heterogeneous"):
            assert series["rounds"] == list(range(rounds + 1))
            for name in ("angle_distance", "relative_error", "predicted"):
                assert series[name] is None or len(series[name]) == rounds + 1
        elif series["panel"] == "local-ratio":
            assert len(series["kappa"]) == len(series["measured"]) == len(series["predicted"])
        else:
            assert len(series["theta"]) == len(series["predicted"])
