"""A sweep chooses on validation text, measures once on test text, and compares seed by seed."""

from __future__ import annotations

import itertools
import json
from functools import partial

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from rolora.errors import InputError
from rolora.experiment import loop, sweep, sweep_report
from rolora.experiment.parallel import run_all
from rolora.planning.estimate import estimate_runs
from tests.config.test_config import write
from tests.conftest import changed
from tests.tools import forked


def made_up(values, curve=None):
    """Runs without training, whose accuracy on validation or test text is ``values(config, split)``; and their configs."""
    requested = []

    def run(configs):
        requested.extend(configs)
        return [record(config) for config in configs]

    def record(config):
        final = {"accuracy": values(config, config.evaluation.split), "loss": 0.5, "examples": 10}
        accuracies = curve(config) if curve else [final["accuracy"]]
        rounds = [{"evaluation": {**final, "accuracy": value}} for value in accuracies]
        record = {"name": config.run_name(), "final": final, "rounds": rounds}
        if config.evaluation.select == "test":
            record["final_papers_protocol"] = {**final, "accuracy": final["accuracy"] + 0.05}
        return record

    return run, requested


def cells(table, **over):
    grid = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
    return sweep.cells([changed(table, **changes) for changes in grid])


def valid(config, split):
    """RoLoRA is best at 0.01 on validation text, FedAvg-LoRA at the smallest rate; on test text it is the other way."""
    best = {"rolora": 0.01, "fedavg-lora": 0.001}[config.algorithm]
    far = abs(np.log10(config.training.learning_rate / best))
    wobble = 0.01 * (config.seed + 1) * (2 if config.algorithm == "rolora" else 1)
    return 0.8 - 0.1 * far if split == "validation" else 0.5 + 0.1 * far + wobble


RATES = (0.001, 0.01, 0.1)


def test_the_rate_is_chosen_on_validation_text_and_test_text_is_seen_after_that_once(table):
    found = cells(table, algorithm=("fedavg-lora", "rolora"), training__learning_rate=RATES)
    run, requested = made_up(valid)
    lines = []
    protocol = sweep.Protocol(seeds=(0, 1, 2), select_seeds=(5, 6))
    outcome = sweep.sweep(found, protocol, run, lines.append)
    assert [choice.rate[0] for choice, _ in outcome] == [0.001, 0.01]  # though test text likes the others better
    split = [(config.evaluation.split, config.evaluation.select, config.seed) for config in requested]
    assert split[:12] == [("validation", "last", seed) for _ in range(6) for seed in (5, 6)]
    assert split[12:] == [("test", "validation", seed) for _ in range(2) for seed in (0, 1, 2)]
    assert [line for line in lines if line.startswith("warning")] == [
        "warning: fedavg-lora: the best rate, 0.001, is at the edge of its grid; a better one may lie beyond"
    ]
    rows = sweep_report.as_record(outcome, protocol)["cells"]
    assert [row["at_edge"] for row in rows] == [True, False]
    assert rows[1]["difference"]["by_seed"] == pytest.approx([0.01, 0.02, 0.03])
    assert rows[1]["difference"]["half_width"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3))
    assert "difference" not in rows[0]
    assert [one["validation"] for one in rows[1]["rates"]] == pytest.approx([0.7, 0.8, 0.7])


def test_the_papers_number_stands_beside_the_fair_one_and_chooses_on_test_text(table):
    found = cells(table, algorithm=("fedavg-lora", "rolora"), training__learning_rate=RATES)
    run, requested = made_up(valid)
    fair = sweep_report.as_record(sweep.sweep(found, protocol := sweep.Protocol((0, 1), (0,)), run), protocol)
    protocol = sweep.Protocol((0, 1), (0,), papers_protocol=True)
    run, requested = made_up(valid)
    papers = sweep_report.as_record(sweep.sweep(found, protocol, run), protocol)
    assert [config.evaluation.select for config in requested] == ["last"] * 6 + ["test"] * 12
    for one, other in zip(fair["cells"], papers["cells"], strict=True):
        assert one["test"]["by_seed"] == other["test"]["by_seed"]
        assert one["chosen"] == other["chosen"]
    assert [row["papers_protocol"]["chosen"]["learning_rate"] for row in papers["cells"]] == [0.1, 0.001]
    assert papers["cells"][1]["papers_protocol"]["mean"] == pytest.approx(papers["cells"][1]["test"]["mean"] + 0.15)


@pytest.mark.parametrize(("select", "chosen"), [("validation", 0.01), ("last", 0.1)])
def test_the_round_that_counts_is_the_same_in_choosing_and_in_measuring(table, select, chosen):
    found = cells(table, training__learning_rate=RATES)
    curves = {0.001: [0.5, 0.6], 0.01: [0.9, 0.1], 0.1: [0.2, 0.7]}
    run, requested = made_up(
        lambda c, s: curves[c.training.learning_rate][-1], lambda c: curves[c.training.learning_rate]
    )
    ((choice, _),) = sweep.sweep(found, sweep.Protocol((0,), (0,), select), run)
    assert choice.rate[0] == chosen
    assert requested[-1].evaluation.select == select


def test_equal_rates_give_the_smallest_and_one_rate_needs_no_choice(table):
    run, requested = made_up(lambda config, split: 0.5)
    ((choice, _),) = sweep.sweep(cells(table, training__learning_rate=(0.1, 0.01)), sweep.Protocol((0,), (0,)), run)
    assert choice.rate == (0.01, None)
    run, requested = made_up(lambda config, split: 0.5)
    ((choice, _),) = sweep.sweep(cells(table, training__learning_rate=(0.1,)), sweep.Protocol((0, 1), (0,)), run)
    assert [config.evaluation.split for config in requested] == ["test", "test"]
    assert not choice.validation


def test_a_rate_of_a_has_a_grid_of_its_own(table):
    (cell,) = cells(table, training__learning_rate=(0.01,), training__learning_rate_a=(0.001, 0.003, 0.01))
    assert list(cell.rates) == [(0.01, 0.001), (0.01, 0.003), (0.01, 0.01)]
    assert [cell.at_edge(rate) for rate in cell.rates] == [True, False, True]


def test_cells_are_compared_with_the_reference_of_their_own_setting(table):
    found = cells(
        table, algorithm=("fedavg-lora", "rolora"), federation__num_clients=(2, 3), training__learning_rate=(0.01,)
    )
    run, _ = made_up(lambda config, split: 0.1 * config.federation.num_clients + 0.01 * (config.algorithm == "rolora"))
    record = sweep_report.as_record(sweep.sweep(found, protocol := sweep.Protocol((0, 1), (0,)), run), protocol)
    labels = [sweep.label(row["settings"]) for row in record["cells"]]
    assert labels[-1] == "rolora, num_clients 3"
    differences = [row["difference"]["mean"] for row in record["cells"] if "difference" in row]
    assert differences == pytest.approx([0.01, 0.01])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.learning_rate=1e-3,1e-2", ["training.learning_rate=0.001", "training.learning_rate=0.01"]),
        ("algorithm=rolora, ffa-lora", ['algorithm="rolora"', 'algorithm="ffa-lora"']),
        ("lora.layers=[4,5],[5]", ["lora.layers=[4, 5]", "lora.layers=[5]"]),
    ],
)
def test_a_grid_is_written_as_one_would(text, expected):
    assert sweep._grid(text) == expected


def test_a_real_sweep_never_sees_test_text_before_the_rates_are_chosen_and_is_not_run_twice(
    table, tmp_path, monkeypatch
):
    table["federation"]["rounds"] = 2
    path = write(tmp_path, table)
    found = sweep.read(path, ["evaluation.every=1"], ["training.learning_rate=0.01,0.1", "algorithm=rolora,ffa-lora"])
    sizes = []
    measure = loop.measure

    def watched(setup, server, examples=None):
        result = measure(setup, server, examples)
        sizes.append(result["examples"])
        return result

    monkeypatch.setattr(loop, "measure", watched)
    console = Console(quiet=True)
    protocol = sweep.Protocol((0, 1), (0,), reference="ffa-lora")
    estimate = partial(estimate_runs, out=tmp_path / "runs", jobs=1)
    first = sweep.announce(found, protocol, estimate)
    assert first.startswith("choosing learning rates: 4 runs, about")
    outcome = [
        sweep.sweep(found, protocol, lambda configs: run_all(configs, tmp_path / "runs", False, 1, console))
        for _ in range(2)
    ]
    # Four choosing runs look at the 20 validation texts alone; each of the four others at the 40 test texts once.
    assert sizes == [20] * 4 * 3 + [20, 20, 20, 40] * 4
    assert sweep.announce(found, protocol, estimate).startswith("choosing learning rates: 4 runs, all finished")
    one, two = (sweep_report.as_record(each, protocol) for each in outcome)
    assert one == two
    best = max(one["cells"][0]["rates"], key=lambda rate: rate["validation"])
    assert best["rate"] == one["cells"][0]["chosen"]
    runs = [
        json.loads((tmp_path / "runs" / name / "record.json").read_text()) for name in one["cells"][0]["test"]["runs"]
    ]
    assert [run["final"]["accuracy"] for run in runs] == one["cells"][0]["test"]["by_seed"]
    assert {run["selection"]["test_evaluations"] for run in runs} == {1}
    measured = [entry["evaluation"]["accuracy"] for entry in runs[0]["rounds"] if entry["evaluation"]]
    assert max(measured) == runs[0]["selection"]["validation"]["accuracy"]


def test_the_command_writes_table_and_record(table, tmp_path):
    table["federation"]["rounds"] = 1
    path = write(tmp_path, table)
    words = ["sweep", path, "--out", tmp_path / "runs", "--over", "training.learning_rate=0.01,0.1", "--seeds", "0,1"]
    answer = forked.run("rolora", *words, "--papers-protocol")
    assert answer.returncode == 0, answer.stderr
    assert "1 cells" not in answer.stdout
    assert "is at the edge of its grid" in answer.stdout
    record = json.loads((tmp_path / "runs" / "sweep.json").read_text())
    assert f"{record['cells'][0]['papers_protocol']['mean']:.3f}" in answer.stdout
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2 + 4


def test_bad_input_is_refused_before_anything_is_run(table, tmp_path):
    path = write(tmp_path, table)
    with pytest.raises(InputError) as refusal:
        sweep.read(path, [], ["training.learning_rate"])
    assert (refusal.value.key, refusal.value.got) == ("--over", "training.learning_rate")
    with pytest.raises(InputError, match=r"unknown key training\.learning_rat\b"):
        sweep.read(path, [], ["training.learning_rat=1,2"])
    with pytest.raises(InputError) as refusal:
        sweep_report.check_reference(cells(table), sweep.Protocol((0,), (0,), reference="flora"))
    assert (refusal.value.key, refusal.value.got) == ("--reference", "flora")
