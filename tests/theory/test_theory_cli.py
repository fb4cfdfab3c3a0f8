"""The commands of ``python -m theory``, run in this process."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
from typer.testing import CliRunner

import theory.__main__ as cli
from rolora.errors import InputError
from theory.verification import display, runner
from theory.verification.claim import Claim, Outcome, Result
from theory.verification.registry import load

FAST = ["interference-identity", "communication-halved"]
FIELDS = {
    "id", "source", "convention", "kind", "direction", "statement", "measured", "predicted", "where", "verdict", "expected",
    "control_verdict", "contrast_verdict", "instances", "seed", "seconds", "error",
}  # fmt: skip


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_list_shows_every_claim():
    result = invoke("list")
    assert result.exit_code == 0
    for claim in cli.registry().values():
        assert f"{claim.id}: {claim.kind}, {claim.direction}, expected: {claim.expected}\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_show_prints_the_fields_and_the_account():
    result = invoke("show", "saddle")
    assert result.exit_code == 0
    assert "direction:  tight\n" in result.stdout
    assert "expected:   holds\n" in result.stdout
    assert "**Assumptions.** S_i = I, by construction" in result.stdout
    assert invoke("show", "sadle").exit_code == 2


def test_check_prints_the_verdicts_and_writes_the_record(tmp_path):
    file = tmp_path / "claims.json"
    result = invoke("check", *FAST, "--json", file, "--seed", 3)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(f"{name}: holds; control refuted" in lines for name in FAST)
    assert max(map(len, lines)) <= 100
    assert "2 claims: holds 2." in lines
    assert f"JSON: {file}" in lines
    records = json.loads(file.read_text())
    assert [record["id"] for record in records] == FAST
    for record in records:
        assert set(record) == FIELDS
        assert record["seed"] == 3
        assert record["verdict"] == record["expected"] == "holds"
        assert record["control_verdict"] == "refuted"
        assert record["instances"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["claims.json"]


@pytest.mark.parametrize("given", [["no-such-claim"], ["saddle", "saddle"], ["saddle", "contraction-factor"]])
def test_an_inexact_id_is_one_line_and_status_2_and_runs_nothing(monkeypatch, given):
    monkeypatch.setattr(cli, "check_all", lambda *arguments: pytest.fail("a claim was run"))
    result = invoke("check", *given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert repr(given[-1]) in result.stderr


def test_jobs_change_no_number_and_no_order(tmp_path):
    ids = ["saddle", "interference-identity", "communication-halved"]
    found = []
    for jobs in (1, 2):
        file = tmp_path / f"{jobs}.json"
        assert invoke("check", *ids, "--jobs", jobs, "--json", file, "--seed", 4).exit_code == 0
        found.append([{**record, "seconds": None} for record in json.loads(file.read_text())])
    assert [record["id"] for record in found[0]] == ids
    assert found[0] == found[1]


def test_no_jobs_are_refused():
    assert invoke("check", *FAST, "--jobs", 0).exit_code == 2


def breaking(monkeypatch, error):
    def run(claim, seed):
        if claim.id == FAST[0]:
            raise error
        return genuine(claim, seed)

    genuine = runner.run
    monkeypatch.setattr(runner, "run", run)


def test_a_claim_that_raises_is_one_line_and_costs_no_other_its_result(monkeypatch, tmp_path):
    breaking(monkeypatch, ZeroDivisionError("first line\nsecond line"))
    file = tmp_path / "claims.json"
    result = invoke("check", *FAST, "--jobs", 1, "--json", file)
    assert result.exit_code == 1
    assert result.stderr == f"{FAST[0]}: ZeroDivisionError: first line second line (--debug shows where)\n"
    assert FAST[1] in result.stdout
    broken, sound = json.loads(file.read_text())
    assert set(broken) == set(sound) == FIELDS
    assert (broken["id"], broken["verdict"], broken["control_verdict"]) == (FAST[0], "not run", "not run")
    assert broken["error"] == "ZeroDivisionError: first line second line"
    assert (sound["verdict"], sound["error"]) == ("holds", None)
    assert "Traceback" in invoke("check", *FAST, "--jobs", 1, "--debug").stderr


def test_an_interrupt_ends_the_checks(monkeypatch):
    breaking(monkeypatch, KeyboardInterrupt())
    result = invoke("check", *FAST, "--jobs", 1)
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\n"


def test_a_worker_that_dies_is_reported_by_its_claims():
    future = Future()
    future.set_exception(BrokenProcessPool("a process ended abruptly"))
    failure = runner._collect(future, "saddle", 3)
    assert (failure.id, failure.seed, failure.passed) == ("saddle", 3, False)
    assert failure.error == "BrokenProcessPool: a process ended abruptly"


def test_an_interrupt_ends_the_workers_too(tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    started = tmp_path / "started"
    # Whoever runs the tests in the background of a shell has SIGINT ignored, and children inherit that.
    process = subprocess.Popen(
        [sys.executable, tmp_path / "sleeping.py", started],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not started.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    worker = int(started.read_text())
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


SLEEPING = """
import os, sys, time
from pathlib import Path
from theory.verification import runner

def sleeping(name, seed):
    started = Path(sys.argv[1])
    started.with_suffix(".new").write_text(str(os.getpid()))
    started.with_suffix(".new").rename(started)
    time.sleep(600)

# Both the parent and each spawned worker run this file, so both know the sleeping work.
runner._work = sleeping
if __name__ == "__main__":
    sys.argv[2:] = ["check", "saddle", "population-map", "--jobs", "2"]
    from theory.__main__ import app
    app(sys.argv[2:])
"""


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

    claim = Claim(
        id="made-up", source="", kind="bound", direction="upper", statement="", convention="", check=result(check), control=result(control),
    )  # fmt: skip
    monkeypatch.setattr(cli, "choose", lambda ids: ["made-up"])
    monkeypatch.setattr(runner, "load", lambda name: claim)
    outcome = invoke("check")
    assert outcome.exit_code == 1
    assert "made-up" in outcome.stderr
    assert "1 not as expected, see the errors." in outcome.stdout


def test_a_check_ends_in_its_summary():
    lines = invoke("check", "audit-averages", "saddle").stdout.splitlines()
    end = lines[lines.index("2 claims: refuted 1, holds 1.") :]
    assert end[1] == "All verdicts are as expected, and all controls are refuted."
    assert end[2] == "Refuted:"
    assert end[3].startswith("    audit-averages: all 12 printed averages")
    assert end[-2:] == [
        "JSON: not written (--json FILE writes it)",
        "Table of all claims: paper_figures/rendered/tab_claims.md",
    ]


def test_an_id_keeps_its_letters_in_the_summary():
    claim, refuted = load("contraction-factor-2-any-eta"), Result(1.0, 0.0, "refuted", 1, "")
    lines = [line.plain for line in display.summary([Outcome(claim, refuted, refuted, 0, 0.0)], None)]
    assert any(line.startswith("    contraction-factor-2-any-eta: any η ≤ 1/L_max²") for line in lines)


@pytest.mark.parametrize(
    ("plain", "typeset"),
    [
        ("E delta_inf^2 = s^2 (d-1) / (N m ||b-bar*||^4)", "E δ_∞² = s² (d-1) / (N m ‖b̄*‖⁴)"),
        ("delta_(t+1) / delta_t, delta_0 and c0 >= 0.5", "δₜ₊₁ / δₜ, δ₀ and c₀ ≥ 0.5"),
        ("theta+ = arctan(2theta), (p+q), 1+2k, R^-1", "θ⁺ = arctan(2θ), (p+q), 1+2k, R⁻¹"),
        ("(36 sqrt 3) + sqrt(sum p_i x_i)", "(36 √3) + √(Σ pᵢ xᵢ)"),
        ("weights that sum to one, a beta test, 82.19 +- 1.03", "weights that sum to one, a β test, 82.19 ± 1.03"),
        (
            "|log|1 - f kappa|| an iteration, (1-x)^(K-1), T^(t/2), 3 x 5",
            "|log|1 - f κ|| an iteration, (1-x)ᴷ⁻¹, T^(t/2), 3 × 5",
        ),
    ],
)
def test_formulas_are_shown_in_their_own_characters(plain, typeset):
    assert display.typeset(plain) == typeset
    assert display.typeset(typeset) == typeset
