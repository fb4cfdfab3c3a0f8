"""What the figures draw: lines, labels, numbers and notes in their artists; no pixels."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from paper_figures import registry
from paper_figures.analysis.entry import Entry
from paper_figures.drawing import style
from paper_figures.figures import (
    fig_finetuning,
    fig_linear,
    fig_nonlinear,
    fig_nonlinear_mnist,
    fig_nonlinear_mnist_rates,
)
from paper_figures.records import sources
from rolora.evaluation.intervals import CONFIDENCE
from tests.paper_figures.conftest import (
    Drawn,
    fake_finetuning,
    fake_linear,
    fake_nonlinear,
    fake_nonlinear_mnist,
    fake_run,
)
from theory.verification.statistics import mean_interval

PRINTED, LEGIBLE = 6.8, 6.5
"""Inches of the widest figure in print, and points of the smallest letters there."""

LABELS = ["FedAvg-LoRA", "FFA-LoRA", "RoLoRA"]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line(ax: Axes, label: str) -> np.ndarray:
    (found,) = [one for one in ax.get_lines() if one.get_label() == label]
    return np.asarray(found.get_xydata())


@pytest.mark.parametrize("entry", [one for one in registry.select() if one.kind == "figure"], ids=lambda one: one.id)
def test_every_figure_names_its_seeds_and_leaves_settings_alone(entry: Entry, records: sources.Records) -> None:
    before = dict(matplotlib.rcParams)
    figure = entry.make(records)
    assert dict(matplotlib.rcParams) == before
    timed = entry.needs in (("engines",), ("profile",))  # times of one run on one machine, which they name
    assert ("made up, 2 cores" if timed else "seeds, ba") in texts(figure).replace("\n", " ")
    assert timed or (
        "seeds, ba" in texts(figure).replace("\n", " ") and "95 % Student interval" in texts(figure).replace("\n", " ")
    )
    assert "RoBERTa" not in texts(figure)
    assert figure.canvas.manager is None
    for ax in figure.axes:
        assert ax.get_xlabel() or ax.get_ylabel() or ax.get_title(loc="left")


@pytest.mark.parametrize("entry", [one for one in registry.select() if one.kind == "figure"], ids=lambda one: one.id)
def test_what_is_written_is_legible_in_print_and_lies_over_nothing(entry: Entry, records: sources.Records) -> None:
    figure = entry.make(records)
    figure.draw_without_rendering()
    whole = figure.bbox
    panels = [ax.get_tightbbox() for ax in figure.axes]
    furniture = [text.get_window_extent() for text in figure.texts] + [figure.legends[0].get_window_extent()]
    for box in furniture:
        assert box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1
    for index, box in enumerate(furniture):
        assert not any(box.overlaps(other) for other in panels + furniture[index + 1 :])
    for index, box in enumerate(panels):
        assert not any(box.overlaps(other) for other in panels[index + 1 :]), (
            "a title or label reaches into a panel beside"
        )
    for ax in figure.axes:
        inside = [text.get_window_extent() for text in ax.texts if text.get_text().strip()]
        assert not any(box.overlaps(other) for index, box in enumerate(inside) for other in inside[index + 1 :])
    # Nothing is smaller than a journal prints it legibly.
    shrunk = min(1, PRINTED / figure.get_size_inches()[0])
    sizes = {text.get_text(): text.get_fontsize() * shrunk for text in figure.findobj(Text) if text.get_text().strip()}
    assert min(sizes.values()) >= LEGIBLE, min(sizes, key=lambda text: sizes[text])


def test_linear_draws_geometric_means_and_says_what_it_cannot_show(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_linear")
    assert len(figure.axes) == 4
    angle = figure.axes[0]
    assert angle.get_yscale() == "log"
    runs = [
        one for one in records["linear"]["series"] if one["panel"] == "trajectories" and one["algorithm"] == "ffa-lora"
    ]
    expected = np.exp(np.mean(np.log([run["angle_distance"] for run in runs]), axis=0))
    np.testing.assert_allclose(line(angle, "FFA-LoRA: made-up steps")[:, 1], expected, rtol=1e-12)
    assert {"RoLoRA: made-up steps", "RoLoRA: made-up solver"} <= set(legend(figure))
    note = texts(figure).replace("\n", " ")
    assert "FedAvg-LoRA converges too" in note and "num clients 20" in note


def test_linear_note_follows_the_record_when_fedavg_stays(records: sources.Records) -> None:
    stuck = fake_linear()
    for one in stuck["series"]:
        if one["algorithm"] == "fedavg-lora":
            one["angle_distance"] = [0.6 for _ in one["angle_distance"]]
    assert "converges too" not in texts(fig_linear.figure(records.having(linear=stuck)))


def test_nonlinear_draws_the_chosen_rate_and_the_reference_at_its_rank_only(
    records: sources.Records, drawn: Drawn
) -> None:
    figure = drawn("fig_nonlinear")
    assert [ax.get_title(loc="left")[4:] for ax in figure.axes] == [
        "5 clients x 2 labels", "10 clients x 1 label", "10 clients, IID", "10 clients x 1 label, rank 4",
    ]  # fmt: skip
    chosen = [
        one["test_accuracy"]
        for one in records["nonlinear"]["series"]
        if one["panel"] == "10 clients x 1 label" and one["algorithm"] == "rolora" and one["chosen"]
    ]
    np.testing.assert_allclose(line(figure.axes[1], "RoLoRA")[:, 1], np.mean(chosen, axis=0))
    assert "centralised LoRA" in [one.get_label() for one in figure.axes[0].get_lines()]
    assert "centralised LoRA" not in [one.get_label() for one in figure.axes[3].get_lines()]
    assert "learning rates: FedAvg 1, FFA 1, RoLoRA 0.1" in [text.get_text() for text in figure.axes[0].texts]
    assert "the paper: 60,000" in texts(figure).replace("\n", " ")


def test_learning_rates_shows_the_whole_grid_and_rings_the_chosen(drawn: Drawn) -> None:
    ax = drawn("fig_learning_rates").axes[0]
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(line(ax, "RoLoRA")[:, 0], [0.1, 1.0])
    np.testing.assert_array_equal(line(ax, "chosen: rolora")[:, 0], [0.1])
    np.testing.assert_array_equal(line(ax, "chosen: ffa-lora")[:, 0], [1.0])


def test_mnist_draws_the_final_runs_and_the_centralised_level(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_nonlinear_mnist")
    titles = [ax.get_title(loc="left")[4:] for ax in figure.axes]
    assert titles[:3] == ["5 clients x 2 labels", "10 clients x 1 label", "10 clients, IID"]
    assert titles[3] == "final accuracy, 10 clients x 1 label"
    assert legend(figure) == [*LABELS, "centralised LoRA"]
    finals = {
        name: [
            one["test_accuracy"]
            for one in records["nonlinear_mnist"]["series"]
            if one["panel"] == panel and one["algorithm"] == name and one["stage"] == "final"
        ]
        for panel, name in (("10 clients x 1 label", "rolora"), ("centralised", "centralised"))
    }
    assert len(finals["rolora"]) == 3
    np.testing.assert_allclose(line(figure.axes[1], "RoLoRA")[:, 1], np.mean(finals["rolora"], axis=0))
    level = np.mean([curve[-4:] for curve in finals["centralised"]])
    np.testing.assert_allclose(line(figure.axes[0], "centralised LoRA")[:, 1], level)
    assert "learning rates: FedAvg 1, FFA 1, RoLoRA 0.1" in [text.get_text() for text in figure.axes[1].texts]
    (ours,) = [one for one in figure.axes[3].containers if one.get_label() == "here: rolora"]
    assert ours.lines[0].get_xdata()[0] == pytest.approx(np.mean([curve[-4:] for curve in finals["rolora"]]))


def test_mnist_says_what_was_run_and_marks_what_is_quoted(drawn: Drawn) -> None:
    figure = drawn("fig_nonlinear_mnist")
    note = texts(figure).replace("\n", " ")
    for wanted in (
        "a made-up model", "B not zero", "made-up MNIST", "54 train and 6 choose", "clipped at 1,", "float32",
        "100 rounds", "mean of 3 seeds", "each for 30 rounds", "quotes them [S]",
    ):  # fmt: skip
        assert wanted in note
    ax = figure.axes[3]
    assert line(ax, "paper: ffa-lora")[0, 0] == 0.55 and line(ax, "rerun: rolora")[0, 0] == 0.8389
    quoted = [text.get_text() for text in ax.texts if "paper" in text.get_text() or "rerun" in text.get_text()]
    assert len(quoted) == 5 and all(text.endswith("[S]") for text in quoted)
    assert "about 0.55, paper [S]" in quoted


def test_a_quick_mnist_run_is_called_one(records: sources.Records) -> None:
    quick = fake_nonlinear_mnist()
    quick["parameters"]["quick"] = True
    for draw in (fig_nonlinear_mnist.figure, fig_nonlinear_mnist_rates.figure):
        assert "numbers mean nothing" in texts(draw(records.having(nonlinear_mnist=quick))).replace("\n", " ")


def test_mnist_rates_show_the_sweep_and_not_the_final_runs(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_nonlinear_mnist_rates")
    assert [ax.get_title(loc="left")[4:] for ax in figure.axes][1:] == [
        "10 clients x 1 label, 30 rounds", "10 clients, IID, 30 rounds", "centralised, 30 rounds",
    ]  # fmt: skip
    ax = figure.axes[1]
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(line(ax, "RoLoRA")[:, 0], [0.1, 1.0])
    np.testing.assert_array_equal(line(ax, "chosen: rolora")[:, 0], [0.1])
    swept = [
        np.mean(one["test_accuracy"][-4:])
        for one in records["nonlinear_mnist"]["series"]
        if (one["panel"], one["algorithm"], one["stage"]) == ("10 clients x 1 label", "rolora", "sweep")
        and one["chosen"]
    ]
    assert len(swept) == 2
    assert "Chosen at an end of the grid" in texts(figure) and "FedAvg, FFA, RoLoRA in (b)" in texts(figure).replace(
        "\n", " "
    )
    assert line(ax, "chosen: rolora")[0, 1] == pytest.approx(np.mean(swept))


def test_finetuning_has_a_panel_for_each_number_of_clients_and_the_majority_line(drawn: Drawn) -> None:
    figure = drawn("fig_finetuning")
    assert [ax.get_title(loc="left")[4:] for ax in figure.axes] == [
        "3 clients, 3 seeds", "20 clients, 3 seeds", "50 clients, 3 seeds",
    ]  # fmt: skip
    assert legend(figure) == [*LABELS, "majority class"]
    finals = [run["final"]["accuracy"] for run in fake_finetuning() if run["name"].startswith("rolora-n20")]
    np.testing.assert_allclose(line(figure.axes[1], "RoLoRA")[-1], [15, np.mean(finals)])
    np.testing.assert_allclose(line(figure.axes[1], "majority class")[:, 1], 0.5)
    assert len(figure.axes[0].collections) == 3
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert "all-MiniLM-L6-v2" in texts(figure) and "Rotten Tomatoes" in texts(figure)


def test_one_seed_is_said_and_has_no_band(records: sources.Records) -> None:
    figure = fig_finetuning.figure(records.having(finetuning=fake_finetuning(seeds=1)))
    assert "one seed: no interval can be drawn" in texts(figure).replace("\n", " ")
    assert not any(ax.collections for ax in figure.axes)


def test_shared_state_is_not_mixed_with_isolated_clients(records: sources.Records) -> None:
    shared = [fake_run("rolora", 20, 15, 0, state="shared")]
    figure = fig_finetuning.figure(records.having(finetuning=records["finetuning"] + shared))
    assert len(figure.axes) == 3


def test_communication_counts_the_bytes_of_the_record(records: sources.Records, drawn: Drawn) -> None:
    figure = drawn("fig_communication")
    run = next(one for one in records["finetuning"] if one["name"].startswith("fedavg-lora-n50"))
    sent = sum(
        sum(entry[name].values()) for entry in run["rounds"] for name in ("bytes_up", "bytes_down", "bytes_joining")
    )
    assert line(figure.axes[0], "FedAvg-LoRA")[-1, 0] == pytest.approx(sent / 1e6)
    bars = {container.get_label(): container.patches[0].get_width() for container in figure.axes[1].containers}
    assert bars["fedavg-lora up A"] == pytest.approx(9.216)
    assert bars["ffa-lora up A"] == 0
    assert bars["rolora up A"] + bars["rolora up B"] == pytest.approx(9.216)


def test_every_method_has_its_own_colour_marker_and_line() -> None:
    looks = [style.METHODS[name] for name in ("fedavg-lora", "ffa-lora", "rolora", "flexlora", "flora", "fedex-lora")]
    for field in ("label", "color", "marker", "linestyle"):
        assert len({str(getattr(look, field)) for look in looks}) == len(looks)


def test_a_quick_run_is_called_one(records: sources.Records) -> None:
    quick = fake_nonlinear()
    quick["parameters"]["quick"] = True
    assert "numbers mean nothing" in texts(fig_nonlinear.figure(records.having(nonlinear=quick))).replace("\n", " ")


def test_bands_are_the_intervals_of_the_statistics_module() -> None:
    values = np.array([[0.1, 2.0], [0.4, 2.5], [0.2, 2.1]])
    mean, low, high = style.band(values.tolist())
    for index in range(2):
        expected = mean_interval(values[:, index], CONFIDENCE)
        np.testing.assert_allclose(
            [mean[index], low[index], high[index]], [expected.estimate, expected.low, expected.high], rtol=1e-12
        )
