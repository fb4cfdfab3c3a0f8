"""Verdicts: their computation, and that of every claim."""

import ast
import importlib
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import theory.claims
from rolora.errors import InputError
from theory.verification.claim import EPS, Claim, Result, at_least, at_most, equal, equal_arrays, judge, run
from theory.verification.registry import choose, document, load, names, registry, select

FOLDER = Path(theory.claims.__file__).parent
FILES = sorted(FOLDER.glob("*/[a-z]*.py"))
HEADINGS = ("Statement", "Assumptions", "Direction", "Source", "Corrected", "Derivation", "Test", "Control")
OPTIONAL = {"Corrected", "Test"}


@pytest.mark.parametrize("name", names())
def test_the_claim_has_its_expected_verdict_and_its_control_is_refuted(name):
    outcome = run(load(name), seed=0)
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

    return Claim(
        id="made-up", source="none", kind="identity", direction="tight", statement="", convention="", expected=expected,
        check=result(check), control=result(control),
    )  # fmt: skip


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
    assert list(registry()) == sorted(file.stem.replace("_", "-") for file in FILES)


@pytest.mark.parametrize(
    ("part", "value", "missing"),
    [
        ("CLAIM", None, "CLAIM = Statement"),
        ("CLAIM", made_up("holds", "refuted").check, "CLAIM = Statement"),
        ("check", None, "def check"),
        ("control", None, "def control"),
        ("__doc__", "**Direction.** Sideways.", "Tight, Upper or Lower"),
    ],
)
def test_a_file_without_one_of_its_parts_is_refused(monkeypatch, part, value, missing):
    monkeypatch.setattr(importlib.import_module("theory.claims.contraction.saddle"), part, value)
    with pytest.raises(InputError) as refusal:
        registry()
    assert refusal.value.where == "theory/claims/contraction/saddle.py"
    assert missing in refusal.value.expected


def test_a_file_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "__init__.py").touch()
    (tmp_path / "drafts" / "half_written.py").write_text("CLAIM = Claim(\n")
    monkeypatch.setattr(theory.claims, "__path__", [*theory.claims.__path__, str(tmp_path)])
    with pytest.raises(InputError, match=r"half_written\.py cannot be imported: SyntaxError"):
        load("half-written")
    assert [claim.id for claim in select(["saddle"])] == ["saddle"]


def test_known_ids_keep_their_order():
    assert [claim.id for claim in select(["saddle", "population-map"])] == ["saddle", "population-map"]
    assert choose([]) == names()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["saddle", "population-map", "saddle"], "'saddle' is given 2 times, expected once"),
        (
            ["contraction-f"],
            "'contraction-f'; it is the beginning of contraction-factor-1, contraction-factor-2, contr",
        ),
        (["saddl"], "'saddl'; it is the beginning of saddle$"),
        (["sadle"], "'sadle'; the nearest are saddle "),
        (["population_map"], "'population_map'; the nearest are population-map,"),
        (["separates-ffa"], "'separates-ffa'; the nearest are linear-model-separates-ffa"),
        (["xyzzy"], "'xyzzy'; no name is near it"),
        ([""], "''; no name is near it"),
    ],
)
def test_what_is_not_exactly_a_name_is_refused_with_the_nearest_ones(ids, message):
    with pytest.raises(InputError, match=message) as refusal:
        select(ids)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("file", [*FILES, FOLDER / "_template.py"], ids=lambda file: file.stem)
def test_claim_files_are_short_documented_and_independent(file):
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(module.startswith("theory.claims") for module in imported)
    assert len(text.splitlines()) <= 100
    docstring = ast.get_docstring(tree) or ""
    headings = re.findall(r"^\*\*(.+?)\.\*\*", docstring, flags=re.MULTILINE)
    assert headings == [heading for heading in HEADINGS if heading in headings or heading not in OPTIONAL]
    assert ("expected=" in text) <= ("Corrected" in headings)
    assert re.search(r"^\*\*Direction\.\*\* (Tight|Upper|Lower)\b", docstring, flags=re.MULTILINE)


def test_one_new_file_is_enough(tmp_path, monkeypatch):
    file = tmp_path / "mine" / "my_statement.py"
    file.parent.mkdir()
    shutil.copy(FOLDER / "_template.py", file)
    (file.parent / "__init__.py").touch()
    monkeypatch.setattr(theory.claims, "__path__", [*theory.claims.__path__, str(tmp_path)])
    try:
        assert "my-statement" in registry()
        (claim,) = select(["my-statement"])
        assert run(claim, seed=0).passed
        assert "**Control.**" in document("my-statement")
    finally:
        for name in ("theory.claims.mine", "theory.claims.mine.my_statement"):
            sys.modules.pop(name, None)


def test_an_id_belongs_to_one_file(tmp_path, monkeypatch):
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "__init__.py").touch()
    shutil.copy(FOLDER / "contraction" / "saddle.py", tmp_path / "copies" / "saddle.py")
    monkeypatch.setattr(theory.claims, "__path__", [*theory.claims.__path__, str(tmp_path)])
    with pytest.raises(InputError) as caught:
        names()
    assert caught.value.key == "saddle"


def test_the_template_itself_is_no_claim():
    assert not any("template" in name for name in names())


def test_a_contrast_has_to_hold():
    claim = made_up("refuted", "refuted", expected="refuted")
    assert run(replace(claim, contrast=lambda key: Result(0.0, 0.0, "holds", 1, "")), 0).passed
    outcome = run(replace(claim, contrast=claim.check), 0)
    assert not outcome.passed
    assert outcome.as_record()["contrast_verdict"] == "refuted"
