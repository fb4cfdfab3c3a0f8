"""How verdicts are computed, and the verdict of every claim."""

import ast
import importlib
import math
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import theory.claims
from rolora.errors import InputError
from rolora.keys import Key
from theory.claim import EPS, Claim, Result, at_least, at_most, equal, equal_arrays, judge, registry, run, select

FILES = sorted(Path(theory.claims.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", sorted(registry()))
def test_the_claim_has_its_expected_verdict_and_its_control_is_refuted(name):
    outcome = run(registry()[name], seed=0)
    assert outcome.control.verdict == "refuted", outcome.control
    assert outcome.result.verdict == outcome.claim.expected, outcome.result
    assert outcome.passed
    assert outcome.result.instances > 0
    assert math.isfinite(outcome.result.measured)
    assert math.isfinite(outcome.result.predicted)


def test_the_worst_instance_decides():
    instances = [at_most(1.0, 2.0, EPS, "far"), at_most(1.9, 2.0, EPS, "near")]
    result = judge(instances)
    assert (result.verdict, result.where, result.measured, result.instances) == ("holds", "near", 1.9, 2)
    assert judge([*instances, at_most(2.1, 2.0, EPS, "over")]).verdict == "refuted"


def test_an_instance_outside_the_assumptions_is_not_counted():
    outside = at_most(9.0, 2.0, EPS, "outside", met=False)
    assert judge([at_most(1.0, 2.0, EPS, "inside"), outside]).instances == 1
    nothing = judge([outside])
    assert (nothing.verdict, nothing.instances) == ("not run", 0)
    assert judge([]).verdict == "not run"


def test_what_is_not_a_number_is_refuted():
    assert judge([at_most(math.nan, 1.0, EPS, ""), at_most(0.0, 1.0, EPS, "")]).verdict == "refuted"


def test_the_three_comparisons():
    assert equal(1.0, 1.0 + EPS, EPS, "").excess <= 1 < equal(1.0, 1.0 + 4 * EPS, EPS, "").excess
    assert at_least(2.0, 1.0, EPS, "").excess < 0 < at_least(1.0, 2.0, EPS, "").excess
    arrays = equal_arrays(np.array([3.0, 4.0]), np.array([4.0, 3.0]), 1.0, "")
    assert (arrays.measured, arrays.predicted, arrays.gap) == (5.0, 5.0, pytest.approx(np.sqrt(2)))


def test_a_correction_is_credited_only_where_it_was_needed():
    good, bad = at_most(1.0, 2.0, EPS, ""), at_most(3.0, 2.0, EPS, "")
    assert judge([good], as_printed=[bad]).verdict == "holds with the stated correction"
    assert judge([good], as_printed=[good]).verdict == "holds"
    assert judge([bad], as_printed=[bad]).verdict == "refuted"


def made_up(check: str, control: str, expected: str = "holds") -> Claim:
    def result(verdict):
        return lambda key: Result(0.0, 0.0, verdict, 1, "")

    return Claim("made-up", "none", "identity", "tight", "", "", expected, result(check), result(control))


def test_a_claim_without_a_failing_control_is_a_failure():
    assert run(made_up("holds", "refuted"), 0).passed
    assert not run(made_up("holds", "holds"), 0).passed
    assert not run(made_up("holds", "not run"), 0).passed


def test_a_verdict_that_is_not_the_expected_one_is_a_failure():
    assert not run(made_up("refuted", "refuted"), 0).passed
    assert not run(made_up("not run", "refuted"), 0).passed
    assert run(made_up("refuted", "refuted", expected="refuted"), 0).passed


def test_check_and_control_draw_from_streams_of_their_own():
    seen = []
    claim = made_up("holds", "refuted")

    def record(key):
        seen.append(key)
        return claim.check(key)

    run(replace(claim, check=record, control=record), seed=5)
    assert [key.seed for key in seen] == [5, 5]
    assert len({key.path for key in seen}) == 2


def test_a_run_repeats_itself():
    claim = registry()["interference-identity"]
    assert run(claim, 3).result == run(claim, 3).result
    assert run(claim, 3).result != run(claim, 4).result


def test_the_record_of_an_undecided_check_is_valid_json():
    claim = replace(made_up("holds", "refuted"), check=lambda key: judge([]))
    record = run(claim, 0).as_record()
    assert (record["measured"], record["verdict"]) == (None, "not run")


def test_the_registry_finds_every_file():
    assert list(registry()) == [file.stem.replace("_", "-") for file in FILES]


@pytest.mark.parametrize("claim", [None, made_up("holds", "refuted")], ids=["no CLAIM", "another id"])
def test_a_file_without_its_claim_is_refused(monkeypatch, claim):
    name = "theory.claims.saddle"
    importlib.import_module(name)
    broken = types.ModuleType(name)
    if claim is not None:
        broken.CLAIM = claim
    monkeypatch.setitem(sys.modules, name, broken)
    with pytest.raises(InputError, match=r"saddle\.py"):
        registry()


def test_unknown_ids_are_refused_and_known_ones_keep_their_order():
    assert [claim.id for claim in select(["saddle", "population-map"])] == ["saddle", "population-map"]
    assert [claim.id for claim in select([])] == list(registry())
    with pytest.raises(InputError, match="no-such-claim"):
        select(["saddle", "no-such-claim"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_claim_files_are_short_documented_and_independent(file):
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(module.startswith("theory.claims") for module in imported)
    assert len(text.splitlines()) <= 100
    docstring = ast.get_docstring(tree) or ""
    assert "**Statement" in docstring
    assert "**Control.**" in docstring


def test_equal_heads_pass_the_comparison_that_different_heads_fail():
    """The check of heterogeneous-arbitrary-accuracy is able to hold."""
    from theory.claims.heterogeneous_arbitrary_accuracy import instance

    assert judge([instance(Key(0), 0.0)]).verdict == "holds"
    assert judge([instance(Key(0), 0.1)]).verdict == "refuted"
