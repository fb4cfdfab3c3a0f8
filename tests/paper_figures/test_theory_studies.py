"""What the figures of the linear model's two studies draw: lines, points, shading and the words under them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paper_figures.building import render
from paper_figures.figures import fig_contraction, fig_sample_complexity
from paper_figures.records import sources
from tests.paper_figures.conftest import Drawn, fake_contraction, fake_sample_complexity


def note(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def line(ax: Axes, label: str) -> np.ndarray:
    (found,) = [one for one in ax.get_lines() if one.get_label() == label]
    return np.asarray(found.get_xydata(), dtype=float)


def points(ax: Axes) -> np.ndarray:
    (bars,) = ax.containers
    return np.asarray(bars.lines[0].get_xydata(), dtype=float)


@pytest.mark.parametrize(("index", "factor", "end"), [(0, 1, 1.36), (1, 2, 0.84)])
def test_contraction_shows_the_claim_the_measurement_and_where_the_claim_ends(
    drawn: Drawn, index: int, factor: int, end: float
) -> None:
    ax = drawn("fig_contraction").axes[index]
    assert f"gradient factor {factor}" in ax.get_title(loc="left")
    local, worst = line(ax, "ratio near a*, population"), line(ax, "largest ratio, population")
    np.testing.assert_allclose(local[:, 1], np.abs(1 - factor * local[:, 0]), atol=1e-12)
    np.testing.assert_allclose(points(ax) - worst, [[0, 0.03]] * len(worst), atol=1e-12)  # the mean of five seeds
    claimed = line(ax, "claimed factor √(1 − κc₀)")
    root = claimed[:, 0] * 0.64 <= 1
    np.testing.assert_allclose(claimed[root, 1], np.sqrt(1 - 0.64 * claimed[root, 0]))
    assert np.all(np.isnan(claimed[~root, 1]))
    (shaded,) = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert shaded.get_x() == pytest.approx(end)
    assert any(f"= {end:.2f}" in text.get_text() for text in ax.texts)


def test_contraction_keeps_the_ratio_near_the_solution_and_the_map(drawn: Drawn) -> None:
    figure = drawn("fig_contraction")
    ax = figure.axes[2]
    predicted = line(ax, "|1 − 2κ|")
    np.testing.assert_allclose(predicted[:, 1], np.abs(1 - 2 * predicted[:, 0]), atol=1e-12)
    np.testing.assert_allclose(points(ax)[:, 1], predicted[:, 1] + 0.004, atol=1e-12)
    assert figure.axes[3].get_title(loc="left").startswith("(d) angle after")
    for words in ("num clients 10, samples 200", "num clients 20", "false in the population", "mean of 5 seeds, bars"):
        assert words in note(figure)


def test_contraction_of_one_seed_says_so(records: sources.Records) -> None:
    figure = fig_contraction.figure(records.having(contraction=fake_contraction(seeds=1)))
    assert "one seed: no interval can be drawn" in note(figure)


def test_sample_complexity_spreads_against_m_and_collapses_against_the_pool(drawn: Drawn) -> None:
    per_client, pooled, _ = drawn("fig_sample_complexity").axes
    for ax in (per_client, pooled):
        assert ax.get_xscale() == ax.get_yscale() == "log"
    for clients in (1, 4, 16):
        label = f"N = {clients}"
        np.testing.assert_array_equal(line(per_client, label)[:, 0] * clients, line(pooled, label)[:, 0])
        np.testing.assert_allclose(line(pooled, label)[:, 1], np.sqrt(20 / line(pooled, label)[:, 0]))
    np.testing.assert_allclose(line(pooled, "predicted")[:, 1], np.sqrt(20 / line(pooled, "predicted")[:, 0]))
    assert len(pooled.collections) == 3, "a band for every number of clients"


def test_sample_complexity_draws_the_pool_against_the_dimension_with_its_slopes(drawn: Drawn) -> None:
    figure = drawn("fig_sample_complexity")
    ax = figure.axes[2]
    np.testing.assert_allclose(line(ax, "N = 4"), [[8, 512], [16, 1024], [32, 2048]])
    np.testing.assert_allclose(line(ax, "predicted"), [[8, 512], [16, 1024], [32, 2048]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "16", "32"]
    assert "1.00 [0.98, 1.02] for N = 16" in note(figure)
    assert "mean of 5 seeds" in note(figure)


def test_sample_complexity_of_one_seed_has_no_bands(records: sources.Records) -> None:
    figure = fig_sample_complexity.figure(records.having(sample_complexity=fake_sample_complexity(seeds=1)))
    assert not any(ax.collections for ax in figure.axes)
    assert "one seed: no interval can be drawn" in note(figure)


def test_contraction_is_drawn_the_same_every_time(drawn: Drawn) -> None:
    """The layout of four panels and a colour bar once ended in another last digit."""
    assert len({render.image(drawn("fig_contraction"), "pdf") for _ in range(6)}) == 1
