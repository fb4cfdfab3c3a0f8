"""Which round counts: chosen on validation text, measured once on test text, with the state of that very round."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel

from rolora.config import check
from rolora.evaluation import evaluate, selection
from rolora.experiment import lockstep, loop
from rolora.keys import Key
from rolora.models import backbone
from rolora.training import process_group
from tests.conftest import changed
from tests.evaluation.conftest import rejected
from tests.experiment.test_experiment import Stop, adapter, measured, stop_after
from tests.experiment.test_resume import assert_same

RISING_THEN_FALLING = {"training__learning_rate": 0.3, "federation__rounds": 5, "evaluation__every": 1}
"""So large a rate that the best of the rounds is not the last one."""


def selecting(table, select="validation", **changes):
    return changed(table, evaluation__select=select, **(RISING_THEN_FALLING | changes))


def test_ties_go_to_the_earliest_round_and_a_loss_is_better_when_smaller():
    def rounds(metric, *values):
        return [{"round": t, "evaluation": None if v is None else {metric: v}} for t, v in enumerate(values)]

    assert selection.best_round(rounds("accuracy", None, 0.5, 0.7, 0.7, 0.6)) == 2
    assert selection.best_round(rounds("loss", None, 0.5, 0.7, 0.5, 0.6)) == 1
    assert selection.best_round(rounds("f1", float("nan"), 0.0)) == 1
    assert selection.best_round(rounds("f1", None)) is None


def test_rounds_are_compared_on_validation_text_and_the_best_one_is_measured_once_on_test_text(
    table, tmp_path, monkeypatch
):
    config = selecting(table)
    looked = []
    measure = loop.measure

    def watched(setup, server, examples=None):
        looked.append("test" if examples is setup.test else "validation")
        return measure(setup, server, examples)

    monkeypatch.setattr(loop, "measure", watched)
    record = loop.run(config, tmp_path)
    assert looked == ["validation"] * 6 + ["test"]
    curve = [entry["evaluation"]["accuracy"] for entry in record["rounds"]]
    assert record["selected_round"] == curve.index(max(curve)) < 4
    assert record["rounds"][0]["evaluation"]["examples"] == 20
    assert record["final"]["examples"] == 40
    assert record["selection"]["validation"] == record["rounds"][record["selected_round"]]["evaluation"]
    assert record["selection"]["test_evaluations"] == 1
    assert all(selection.TEST_EVALUATION not in entry for entry in record["rounds"])
    # The run that ends after that round is the same run up to there: same state, same number.
    earlier = changed(table, **RISING_THEN_FALLING | {"federation__rounds": record["selected_round"] + 1})
    assert loop.run(earlier, tmp_path / "earlier")["final"] == record["final"]
    assert adapter(tmp_path) == adapter(tmp_path / "earlier")


@pytest.mark.parametrize("cache", [False, True])
def test_the_saved_adapter_is_the_state_that_was_measured(table, tmp_path, cache):
    config = selecting(table, model__dropout=0.0, lora__layers=[1], runtime__prefix_cache=cache)
    record = loop.run(config, tmp_path)
    assert record["selected_round"] < 4
    fresh = backbone.load(config.model, "classification", 2, Key(99), torch.float32, torch.device("cpu"))
    loaded = PeftModel.from_pretrained(fresh.model, tmp_path / "adapter")
    found = evaluate.evaluate(loaded, loop.prepare(config).test, 64, torch.device("cpu"))
    assert found.as_dict() == pytest.approx(record["final"], rel=1e-5)
    assert cache == ("prefix_cache" in record and "refused" not in record["prefix_cache"])


def test_the_papers_protocol_stands_beside_the_fair_number_and_is_named(table, tmp_path):
    fair = loop.run(selecting(table), tmp_path / "fair")
    papers = loop.run(selecting(table, "test"), tmp_path / "papers")
    assert papers["final"] == fair["final"]
    assert papers["selected_round"] == fair["selected_round"]
    assert adapter(tmp_path / "papers") == adapter(tmp_path / "fair")
    on_test = [entry[selection.TEST_EVALUATION]["accuracy"] for entry in papers["rounds"]]
    assert papers["final_papers_protocol"]["accuracy"] == max(on_test) >= papers["final"]["accuracy"]
    assert papers["selection_papers_protocol"]["selected_round"] == on_test.index(max(on_test))
    assert papers["selection"]["test_evaluations"] == 5
    assert "final_papers_protocol" not in fair


def test_a_run_without_selection_says_what_it_always_said(table, tmp_path):
    record = loop.run(changed(table), tmp_path)
    assert list(record)[-4:] == ["initial_evaluation", "rounds", "final", "seconds"]
    assert list(record["final"]) == ["accuracy", "loss", "examples"]
    assert type(record["final"]["examples"]) is int
    assert "select" not in record["config"]["evaluation"]


@pytest.mark.parametrize(
    ("select", "method"), [("validation", "rolora"), ("validation", "fedex-lora"), ("test", "fedsa-lora")]
)
def test_a_run_that_is_stopped_after_any_round_goes_on_to_the_same_bits(table, tmp_path, select, method):
    """Before, at and after the best round; a server with a residual, clients with a factor of their own."""
    config = selecting(table, select, algorithm=method, federation__rounds=4)
    whole = loop.run(config, tmp_path / "whole")
    for rounds in sorted({1, min(whole["selected_round"] + 1, 3), 3}):
        cut = tmp_path / "cut" / str(rounds)
        with pytest.raises(Stop):
            loop.run(config, cut, progress=stop_after(3 * rounds + 1))
        resumed = loop.run(config, cut, resume=True)
        assert_same(cut, tmp_path / "whole")
        assert measured(resumed)


def test_a_run_that_is_stopped_while_test_text_is_measured_goes_on(table, tmp_path, monkeypatch):
    config = selecting(table)
    loop.run(config, tmp_path / "whole")
    measure = loop.measure

    def stopped(setup, server, examples=None):
        if examples is setup.test:
            raise Stop
        return measure(setup, server, examples)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(loop, "measure", stopped)
        loop.run(config, tmp_path / "cut")
    loop.run(config, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_runs_that_train_together_select_each_its_own_round(table, tmp_path):
    common = {"runtime__engine": "batched", "runtime__dtype": "float64"}
    configs = [selecting(table, **common, seed=seed) for seed in (0, 1)]
    (unit,) = lockstep.sets(configs)
    joint = lockstep.run(unit, tmp_path / "joint", resume=False, progress=lambda name, event: None)
    for config, found in zip(configs, joint, strict=True):
        alone = loop.run(config, tmp_path / "alone" / config.run_name())
        assert found["selected_round"] == alone["selected_round"]
        assert found["final"] == pytest.approx(alone["final"], rel=1e-7)
    assert len(lockstep.sets([configs[0], changed(table, **common)])) == 2


def test_selection_without_a_test_split_is_refused(table):
    with rejected('"test" with select = "validation"', key="evaluation.split", got="validation"):
        selecting(table, evaluation__split="validation")
    table["evaluation"]["select"] = "best"
    with rejected(key="evaluation.select", got="best"):
        check(table, "test")


def test_any_flat_table_of_numbers_reaches_the_record(table, tmp_path, monkeypatch):
    """A task whose primary metric is a loss, of which the smallest one counts."""
    values = iter([0.9, 0.8, 0.5, 0.6, 0.5, 0.7, 0.55])

    def measure(setup, server, examples=None):
        value = next(values)
        return {"loss": value, "tokens": 2.5, "examples": len(examples)}

    monkeypatch.setattr(loop, "measure", measure)
    record = loop.run(selecting(table), tmp_path)
    assert record["selected_round"] == 1
    assert record["final"] == {"loss": 0.55, "tokens": 2.5, "examples": 40}
    assert record["selection"]["metric"] == "loss"


def test_a_table_travels_from_the_first_process_with_its_names_and_bits(monkeypatch):
    table = {"matthews_correlation": 0.1 + 0.2, "loss": 1e-300, "examples": 40}
    sent = []

    def from_first(numbers, length):
        if process_group.is_first():
            sent.append(list(numbers))
            return list(numbers)
        assert length == len(sent[0])
        return sent.pop(0)

    monkeypatch.setattr(process_group, "from_first", from_first)
    for number in (0, 1):
        monkeypatch.setattr(process_group, "_group", process_group._Group(number, 2, None))
        found = process_group.table_from_first(table if number == 0 else None)
        assert json.dumps(found) == json.dumps(table)
