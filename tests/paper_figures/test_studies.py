"""The open questions' figures and tables: what is grouped, chosen, drawn and said; no pixels."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paper_figures.analysis import benchmarks
from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.questions import SETTINGS
from paper_figures.figures import (
    fig_budgets,
    fig_communication,
    fig_finetuning,
    fig_interference_layers,
    fig_label_skew,
)
from paper_figures.panels import convergence, studied_settings, swept_setting, task_results
from paper_figures.records import sources
from paper_figures.tables import tab_benchmarks, tab_open_questions
from rolora.errors import InputError
from rolora.evaluation.intervals import student
from tests.paper_figures.conftest import Drawn, fake_finetuning, fake_methods, fake_run
from tests.paper_figures.made_up_studies import changed


def titles(figure: Any) -> list[str]:
    return [ax.get_title(loc="left").replace("\n", " ") for ax in figure.axes]


def ticks(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def heights(ax: Any, label: str) -> list[float]:
    (found,) = [container for container in ax.containers if container.get_label() == label]
    return [float(one) for one in found.lines[0].get_ydata(orig=False)]


def accuracies(runs: list[dict[str, Any]], method: str, **section: Any) -> float:
    chosen = [
        run["final"]["accuracy"]
        for run in runs
        if run["config"]["algorithm"] == method and section.items() <= run["config"]["federation"].items()
    ]
    return float(np.mean(chosen))


def test_label_skew_goes_from_one_label_to_equal_shares(records: sources.Records, drawn: Drawn) -> None:
    (ax,) = drawn("fig_label_skew").axes
    assert ticks(ax) == ["1 label", "0.5", "1", "10", "IID"]
    drawn = heights(ax, "RoLoRA")
    assert drawn[0] == pytest.approx(accuracies(records["label_skew"], "rolora", partition="by-label"))
    assert drawn[2] == pytest.approx(accuracies(records["label_skew"], "rolora", dirichlet_alpha=1.0))
    assert drawn[4] == pytest.approx(accuracies(records["label_skew"], "rolora", partition="iid"))


def test_participation_is_compared_at_equal_rounds_and_equal_client_steps(
    records: sources.Records, drawn: Drawn
) -> None:
    figure = drawn("fig_participation")
    assert [title.split(", ", 1)[1] for title in titles(figure)] == ["6 rounds", "360 total local steps"]
    rounds, steps = figure.axes
    assert ticks(rounds) == ticks(steps) == ["5 of 20", "20 of 20"]
    longer = [run for run in records["participation"] if run["config"]["federation"]["rounds"] == 24]
    assert heights(steps, "FFA-LoRA")[0] == pytest.approx(accuracies(longer, "ffa-lora"))


def test_local_steps_are_compared_at_equal_rounds_and_equal_client_steps(drawn: Drawn) -> None:
    figure = drawn("fig_local_steps")
    assert [title.split(", ", 1)[1] for title in titles(figure)] == ["20 rounds", "1,000 total local steps"]
    assert ticks(figure.axes[0]) == ["1", "20"]


def test_ranks_have_a_panel_of_equal_bytes_and_one_against_all_bytes(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_ranks")
    first, second, third = figure.axes
    assert "4 rounds" in titles(figure)[0] and "16 rank × rounds" in titles(figure)[1]
    assert ticks(first) == ticks(second) == ["1", "4"]
    assert third.get_xscale() == "log"
    assert {text.get_text() for text in third.texts} == {"1", "4"}
    sent = [
        run for run in records["ranks"] if run["config"]["lora"]["rank"] == 4 and run["config"]["algorithm"] == "rolora"
    ]
    places = [float(c.lines[0].get_xdata(orig=False)[0]) for c in third.containers]
    assert any(place == pytest.approx(outcomes.megabytes(sent[0])[-1], rel=0.1) for place in places)


def test_schedules_are_ordered_by_the_share_of_a(drawn: Drawn) -> None:
    (ax,) = drawn("fig_schedules").axes
    assert ticks(ax) == ["B\n0 %", "10\n10 %", "BBA\n33 %", "BA\n50 %", "both"]
    assert len(heights(ax, "RoLoRA")) == 3 and len(heights(ax, "FFA-LoRA")) == len(heights(ax, "FedAvg-LoRA")) == 1


def test_rate_ratios_have_a_line_for_each_rate_of_b(drawn: Drawn) -> None:
    figure = drawn("fig_rate_ratios")
    assert ticks(figure.axes[0]) == ["0.25", "1", "4"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["RoLoRA, B 0.001", "RoLoRA, B 0.01"]


def test_the_open_questions_are_differences_at_equal_seed(records: sources.Records) -> None:
    table = tab_open_questions.table(records)
    by_place = {(row[0], row[2]): row[3:] for row in table.rows}
    assert {row[0] for row in table.rows} == {kind.replace("_", " ") for kind in SETTINGS}
    level = {
        name: [run["final"]["accuracy"] for run in records["label_skew"] if run["config"]["algorithm"] == name][:3]
        for name in ("rolora", "fedavg-lora")
    }
    gap = student(np.subtract(level["rolora"], level["fedavg-lora"]).tolist())
    assert by_place["label skew", "1 label"][0].startswith(f"{gap.text(3, sign=True)} (3)")
    assert by_place["schedules", "BA, 50 %"][2] == "–" and by_place["schedules", "BBA, 33 %"][2].startswith("+0.000")
    assert by_place["schedules", "BBA, 33 %"][0] != "–"  # what has one place is compared with every schedule
    assert by_place["rate ratios", "4 B 0.001"][:2] == ("–", "–")
    assert by_place["rate ratios", "4 B 0.001"][2].startswith("+0.000")
    assert by_place["layer budgets", "2"][2] == "–"


def test_a_difference_is_marked_when_its_interval_leaves_zero_out(records: sources.Records) -> None:
    better = [
        run | {"final": run["final"] | {"accuracy": run["final"]["accuracy"] + 0.5 + 0.001 * run["seed"]}}
        if run["config"]["algorithm"] == "rolora"
        else run
        for run in records["label_skew"]
    ]
    table = tab_open_questions.table(records.having(label_skew=better))
    assert all(row[3].endswith(" ▲") for row in table.rows if row[0] == "label skew")


def test_layer_budgets_count_matrices(drawn: Drawn) -> None:
    assert ticks(drawn("fig_layer_budgets").axes[0]) == ["2", "4"]


def test_rounds_on_validation_text_end_in_the_score_on_test_text(records: sources.Records, drawn: Drawn) -> None:
    """Where rounds are selected, a record's rounds are validation text: the axis says so, and the test score stands apart."""
    figure = drawn("fig_encoder_tasks")
    assert [title.split(" ")[1].rstrip(",") for title in titles(figure)] == ["SST-2", "TREC"]
    selected, last = figure.axes
    assert selected.get_ylabel() == "validation accuracy; open: test" and last.get_ylabel() == "test accuracy"
    own = [
        run
        for run in records["encoder_tasks"]
        if outcomes.task(run) == "SST-2" and run["config"]["algorithm"] == "rolora"
    ]
    ends = [float(container.lines[0].get_ydata(orig=False)[0]) for container in selected.containers]
    assert any(end == pytest.approx(outcomes.mean(own).mean) for end in ends) and not last.containers


def test_fine_tuning_figures_say_so_where_their_curves_are_validation_text() -> None:
    runs = [changed(run, "chosen", evaluation={"select": "validation"}) for run in fake_finetuning(2)]
    made = sources.Records(Path(), finetuning=runs)
    assert fig_finetuning.figure(made).axes[0].get_ylabel() == "validation accuracy"
    assert fig_communication.figure(made).axes[0].get_ylabel() == "validation accuracy"
    assert fig_budgets.figure(made).axes[0].get_ylabel() == "validation accuracy"


def test_the_papers_protocol_draws_the_test_text(records: sources.Records) -> None:
    run = copy.deepcopy(fake_run("rolora", 3, 5, 0))
    run["config"]["evaluation"] |= {"select": "test", "split": "test"}
    for entry in run["rounds"]:
        entry["evaluation_test"] = {"accuracy": 0.9, "loss": 0.1, "examples": 10}
    rounds, values, split = outcomes.curve(run)
    assert (rounds, set(values), split) == ([1, 2, 3, 4, 5], {0.9}, "test")


def test_the_loss_of_instruction_tuning_is_drawn_for_every_division(drawn: Drawn) -> None:
    figure = drawn("fig_dolly")
    assert sorted(title.split(", ")[1] for title in titles(figure)) == ["Dirichlet(0.5)", "IID", "clients of the data"]
    assert all(ax.get_ylabel() == "test loss" for ax in figure.axes)
    for ax in figure.axes:
        curve = next(line.get_ydata() for line in ax.get_lines() if line.get_label() == "RoLoRA")
        assert np.all(np.diff(np.asarray(curve)) < 0)
    assert "a-made-up-decoder" in figure.texts[0].get_text()


def test_budgets_draw_the_same_curve_against_three_costs(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_budgets")
    assert len(figure.axes) == 9
    rounds, steps, sent = (
        next(line for line in ax.get_lines() if line.get_label() == "FedAvg-LoRA") for ax in figure.axes[-3:]
    )
    np.testing.assert_array_equal(rounds.get_ydata(), sent.get_ydata())
    assert rounds.get_xdata()[-1] == 6 and steps.get_xdata()[-1] == 6 * 50 * 3
    run = next(one for one in records["finetuning"] if one["name"].startswith("fedavg-lora-n50"))
    assert sent.get_xdata()[-1] == pytest.approx(outcomes.megabytes(run)[-1])


def test_interference_is_shown_by_matrix_and_exact_methods_are_named(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_interference_layers")
    left, right = figure.axes
    assert ticks(left) == ["first", "second"]
    assert heights(left, "FedAvg-LoRA") == pytest.approx([float(np.median(0.1 * 0.9 ** np.arange(15)))] * 2)
    assert {line.get_label() for line in right.get_lines()} == {"first", "second"}
    note = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "in every layer and round: FFA-LoRA, RoLoRA" in note
    exact = [run for run in fake_methods(2) if run["config"]["algorithm"] in ("ffa-lora", "rolora")]
    assert not fig_interference_layers.applies(records.having(methods=exact)), "there is nothing to draw of zeros"


def test_a_setting_that_varies_beside_the_axis_makes_its_own_panel(records: sources.Records) -> None:
    other = [changed(run, "sgd", training={"optimizer": "sgd"}) for run in records["label_skew"]]
    found = swept_setting.panels([*records["label_skew"], *other], studied_settings.AXES["label_skew"])
    assert [panel.title for panel in found] == ["Rotten Tomatoes, optimizer adamw", "Rotten Tomatoes, optimizer sgd"]


def test_nothing_is_drawn_of_a_setting_that_does_not_vary(records: sources.Records) -> None:
    one = [run for run in records["label_skew"] if run["config"]["federation"]["partition"] == "iid"]
    assert not fig_label_skew.ENTRY.applies(records.having(label_skew=one))


def test_runs_that_chose_a_rate_are_left_out() -> None:
    run = changed(fake_run("rolora", 3, 5, 0), "chose", evaluation={"split": "validation"})
    assert outcomes.on_test([run, fake_run("rolora", 3, 5, 1)])[0]["seed"] == 1


def test_of_several_rates_on_test_text_validation_chooses() -> None:
    """The papers' protocol runs every rate on test text; the rate is still not chosen by what it reached there."""
    runs = []
    for rate, validation, test in ((0.01, 0.8, 0.60), (0.02, 0.7, 0.90)):
        for seed in range(2):
            run = changed(fake_run("rolora", 3, 5, seed), str(rate), training={"learning_rate": rate})
            run["final"]["accuracy"] = test
            runs.append(run | {"selection": {"validation": {"accuracy": validation}}})
    assert [run["final"]["accuracy"] for run in outcomes.by_seed(runs)] == [0.60, 0.60]
    for run in runs:
        del run["selection"]
    with pytest.raises(InputError, match="no validation metric to choose by"):
        outcomes.by_seed(runs)


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(InputError, match="have the same setting, method and seed"):
        outcomes.by_seed([fake_run("rolora", 3, 5, 0), fake_run("rolora", 3, 5, 0)])


def test_tasks_are_named_as_a_reader_knows_them(records: sources.Records) -> None:
    assert {outcomes.task(run) for run in records["encoder_tasks"]} == {"SST-2", "TREC"}
    assert {outcomes.task(run) for run in records["dolly"]} == {"Dolly"}


def test_the_table_of_tasks_has_test_scores_and_where_they_began(records: sources.Records) -> None:
    table = task_results.encoder(records)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["task"], row["method"]) for row in rows[:3]] == [
        ("SST-2", "FedAvg-LoRA"), ("SST-2", "FFA-LoRA"), ("SST-2", "RoLoRA"),
    ]  # fmt: skip
    own = [
        run
        for run in records["encoder_tasks"]
        if outcomes.task(run) == "TREC" and run["config"]["algorithm"] == "rolora"
    ]
    (trec,) = [row for row in rows if (row["task"], row["method"]) == ("TREC", "RoLoRA")]
    assert trec["test"] == student([run["final"]["accuracy"] for run in own]).text()
    assert trec["untrained"] == "0.500 ± 0.000" and trec["clients' text"] == "2 labels a client"
    losses = task_results.dolly(records)
    assert {row[losses.columns.index("metric")] for row in losses.rows} == {"loss"}
    assert len(losses.rows) == 9


def test_the_run_that_was_asked_may_lie_beside_its_evaluation(records: sources.Records) -> None:
    alone = records.having(dolly=[])
    row = next(row for row in tab_benchmarks.table(alone).rows if row[0].startswith("boolq") and "before" not in row[3])
    assert row[3] not in ("RoLoRA", "– (before)")
    beside = alone.having(evaluation_runs=records["dolly"])
    assert any(row[3] == "RoLoRA" for row in tab_benchmarks.table(beside).rows)


def test_benchmarks_are_paired_question_by_question(records: sources.Records) -> None:
    table = tab_benchmarks.table(records)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0].startswith("boolq")]
    before, after = rows
    assert before["fine-tuned with"] == "– (before)" and before["score"] == "25.0 (10.0 to 90.0)"
    assert after["fine-tuned with"] == "RoLoRA" and after["seeds"] == "2"
    assert after["score"] == student([50.0, 75.0]).text(1)
    assert after["difference"] == student([25.0, 50.0]).text(1, sign=True) and after["interval over"] == "seeds"
    assert after["lost"] == "0"


def test_one_fine_tuned_model_has_an_interval_over_questions(records: sources.Records) -> None:
    fewer = [one for one in records["evaluations"] if "-s1-" not in one["model"]["name"]]
    found = [one for one in benchmarks.compared(records.having(evaluations=fewer)) if one.method]
    low, high = found[0].comparisons[0]["interval"]
    assert found[0].difference() == (f"+25.0 ({100 * low:+.1f} to {100 * high:+.1f})", "questions")
    assert low < 0.25 < high
    assert found[0].score() == "50.0 (10.0 to 90.0)", "the ends, as an interval of a share has no middle"


def test_an_adapter_of_no_known_run_keeps_its_folders_name(records: sources.Records) -> None:
    found = benchmarks.compared(records.having(dolly=[]))
    assert any(one.method.startswith("rolora-n10-s0") for one in found)


def test_without_a_base_on_the_same_questions_there_is_no_difference(records: sources.Records) -> None:
    after = [one for one in records["evaluations"] if "base" in one["model"]]
    assert all(one.difference() == ("–", "–") for one in benchmarks.compared(records.having(evaluations=after)))


def test_an_evaluation_that_was_interrupted_is_refused(tmp_path: Path, records: sources.Records) -> None:
    (tmp_path / "evaluations").mkdir()
    record = records["evaluations"][0] | {"complete": False}
    (tmp_path / "evaluations" / "one.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="expected a complete record"):
        sources.load(tmp_path)["evaluations"]


def test_a_study_is_named_and_never_started_by_the_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sources.recompute(["ranks"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert "make study SCALE=cpu ONLY=ranks" in capfd.readouterr().err
    with pytest.raises(InputError, match="make study SCALE=cpu ONLY=dolly"):
        sources.load(tmp_path).require("fig_dolly", ("dolly",))


def test_panels_say_in_which_state_their_clients_are(records: sources.Records) -> None:
    found = [panel.title for panel in swept_setting.panels(records["confound"], convergence.ROUNDS, least=1)]
    for words in ("isolated clients", "chained clients", "clients share one model"):
        assert any(words in title for title in found), (words, found)
