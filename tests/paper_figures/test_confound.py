"""The confound: which runs stand together, and that its words follow from the intervals whichever way they fall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paper_figures.analysis import confound, differences
from paper_figures.analysis.confound import COMPARISONS, Setting, cells, compared, growth, movement
from paper_figures.figures import fig_confound, fig_movement
from paper_figures.records.sources import Records
from paper_figures.tables import tab_confound
from tests.paper_figures.conftest import fake_run

BASE = {"fedavg-lora": 0.70, "ffa-lora": 0.66, "rolora": 0.70}
GAIN = {("rolora", "chained"): 0.05, ("fedavg-lora", "chained"): 0.05}
NOISE = (0.0, 0.004, -0.004)


def a_run(method: str, clients: int, rounds: int, seed: int, state: str, optimizer: str = "adamw") -> dict[str, Any]:
    run = fake_run(method, clients, rounds, seed, state=state)
    run["config"] = run["config"] | {"training": run["config"]["training"] | {"optimizer": optimizer}}
    # The seeds' own noise is common to all methods; the methods differ by a little that is not.
    accuracy = BASE[method] + GAIN.get((method, state), 0.0) + NOISE[seed] + 0.001 * ((seed + len(method)) % 3)
    run["final"] = run["final"] | {"accuracy": accuracy}
    return run


@pytest.fixture
def runs() -> list[dict[str, Any]]:
    scales = [("adamw", 3, 100), ("adamw", 20, 15), ("adamw", 50, 6), ("adamw", 3, 15), ("adamw", 50, 15)]
    scales += [("sgd", 3, 100), ("sgd", 20, 15), ("sgd", 50, 6)]
    return [
        a_run(method, clients, rounds, seed, state, optimizer)
        for optimizer, clients, rounds in scales
        for method in BASE
        for state in ("isolated", "chained")
        for seed in range(3)
    ]


def test_cells_stand_together_by_optimiser_and_budget_and_one_scale_may_fit_both(runs: list[dict[str, Any]]) -> None:
    found = cells(runs)
    assert list(found) == [
        Setting("adamw", "client-rounds"),
        Setting("adamw", "rounds"),
        Setting("sgd", "client-rounds"),
    ]
    rounds = {
        setting: {n: confound.rounds_of(group, n) for n in confound.clients_of(group)}
        for setting, group in found.items()
    }
    assert list(rounds.values()) == [{3: 100, 20: 15, 50: 6}, {3: 15, 20: 15, 50: 15}, {3: 100, 20: 15, 50: 6}]


def test_differences_are_paired_and_judged_by_their_intervals(runs: list[dict[str, Any]]) -> None:
    group = cells(runs)[Setting("sgd", "client-rounds")]
    chained = compared(group, "RoLoRA: chained − isolated", 50)
    assert chained is not None
    assert chained.mean == pytest.approx(0.05)
    assert chained.half_width == pytest.approx(0.0, abs=1e-12)  # the seeds' noise is gone
    assert differences.side(chained) == "above"
    alone = compared(group, "RoLoRA − FedAvg-LoRA, both isolated", 50)
    assert differences.side(alone) == differences.NOT_SIGNIFICANT
    assert differences.side(compared(group, "RoLoRA − FFA-LoRA, both isolated", 50)) == "above"
    assert set(COMPARISONS) >= set(confound.CONCLUDED)


def test_a_lead_that_grows_with_the_clients_is_told_from_one_that_does_not(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        if run["config"]["algorithm"] == "rolora" and run["config"]["federation"]["num_clients"] == 50:
            run["final"] = run["final"] | {"accuracy": run["final"]["accuracy"] + 0.1}
    group = cells(runs)[Setting("adamw", "client-rounds")]
    grown = growth(group, "RoLoRA − FedAvg-LoRA, both isolated")
    assert grown is not None
    assert grown.mean == pytest.approx(0.1)
    assert growth(group, "FedAvg-LoRA: chained − isolated").mean == pytest.approx(0.0, abs=1e-12)  # type: ignore[union-attr]


def test_the_conclusion_follows_the_numbers(runs: list[dict[str, Any]]) -> None:
    before = confound.conclusion(runs)
    assert any("in a" not in line and "includes zero in 9" in line for line in before[:1])
    assert before[2].startswith("RoLoRA: chained − isolated: of 9 comparisons") and "above zero in 9" in before[2]
    for run in runs:
        if run["config"]["federation"]["client_state"] == "chained":
            run["final"] = run["final"] | {"accuracy": run["final"]["accuracy"] - 0.1}
    assert "below in 9" in confound.conclusion(runs)[2]


def test_equal_bytes_are_half_the_rounds(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "confound").mkdir()
    summary = {"cells": [{"at_edge": True}, {"at_edge": False}, {"at_edge": True}]}
    (tmp_path / "confound" / "one_sweep.json").write_text(json.dumps(summary))
    table = tab_confound.table(Records(tmp_path, confound=runs))
    assert table.notes[-1].startswith("In 2 of 3 cells the chosen learning rate is the smallest or the largest")
    assert len(table.rows) == 3 * (len(COMPARISONS) + 1)
    cell = cells(runs)[Setting("adamw", "client-rounds")][50, "isolated", "fedavg-lora"]
    run = cell.runs[0]
    assert cell.accuracies(0.5)[0] == run["rounds"][2]["evaluation"]["accuracy"]


def test_the_figure_draws_every_cell(runs: list[dict[str, Any]]) -> None:
    figure = fig_confound.figure(Records(Path(), confound=runs))
    assert [ax.get_title(loc="left")[4:] for ax in figure.axes] == [
        "AdamW, equal client-rounds", "AdamW, equal rounds", "SGD, equal client-rounds",
    ]  # fmt: skip
    assert all(len(ax.containers) == 6 for ax in figure.axes)


@pytest.fixture
def moving() -> list[dict[str, Any]]:
    """RoLoRA in the chain goes (N + 1)/2 times as far; "shared" does from round 1 on."""
    found = []
    for state in ("isolated", "shared", "chained"):
        for clients in (3, 20):
            for seed in range(3):
                run = a_run("rolora", clients, 4, seed, state)
                for entry in run["rounds"]:
                    factor = "B" if entry["round"] % 2 == 0 else "A"
                    chain = state == "chained" or (state == "shared" and entry["round"] > 0)
                    entry["moved"] = {factor: (0.1 + 0.01 * seed) * ((clients + 1) / 2 if chain else 1.0)}
                found.append(run)
    return found


def test_movement_is_compared_where_both_start_from_the_same_state(moving: list[dict[str, Any]]) -> None:
    found = movement(moving)
    assert found.keys() == {("adamw", "shared", "rolora", "A"), ("adamw", "chained", "rolora", "B")}
    for by_clients in found.values():
        assert {n: np.mean(ratios) for n, ratios in by_clients.items()} == {
            3: pytest.approx(2),
            20: pytest.approx(10.5),
        }
    records = Records(Path(), movement=moving)
    gaps = [np.mean(ratios) / ((n + 1) / 2) - 1 for by_clients in found.values() for n, ratios in by_clients.items()]
    assert max(map(abs, gaps)) == pytest.approx(0, abs=1e-9)
    assert "20 clients 10.5 to 10.5 times (expected 10.5)" in confound.moved(moving)
    (ax,) = fig_movement.figure(records).axes  # type: ignore[arg-type]
    assert len(ax.containers) == 2
