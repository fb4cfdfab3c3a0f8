"""How fast RoLoRA contracts on the linear model: measured near the solution, and the closed form it follows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from paper_figures.compute import Records
from paper_figures.linear_record import described, panel
from paper_figures.style import band, furnish, grid, letter, method_style, seeds_note, styled

NAMED = ("num_clients", "ratio_samples", "dimension", "ratio_delta0")
"""The record's parameters that the figure names."""


@styled
def figure(records: Records) -> Figure:
    """(a) measured ratio of one iteration over the line |1 - 2κ|; (b) the map of angles in the many-sample limit."""
    runs, maps = panel(records.linear, "local-ratio"), panel(records.linear, "population-map")
    result, axes = grid(1, 2 if maps else 1, height=3.2)
    handles = _ratios(axes[0, 0], runs)
    letter(axes[0, 0], 0, "ratio of one iteration, fixed data")
    if maps:
        _maps(axes[0, 1], maps)
        letter(axes[0, 1], 1, "angle after one iteration, closed form")
    note = (
        f"Linear model, synthetic data: {described(records.linear['parameters'], NAMED)}; κ = η‖b*‖² with the loss "
        f"(1/m)‖·‖², whose gradient has the factor 2. Points: {seeds_note(len(runs)).replace('band', 'bars')}. "
        "(b) is a formula, not a measurement."
    )
    return furnish(result, "Linear model: contraction of RoLoRA (Algorithm 2)", note, handles)


def _ratios(ax: Axes, runs: list[dict[str, object]]) -> list[object]:
    look = method_style("rolora")
    kappa = np.asarray(runs[0]["kappa"])
    (line,) = ax.plot(kappa, runs[0]["predicted"], "-", color="#444444", label="|1 − 2κ|")
    mean, low, high = band([run["measured"] for run in runs])
    bars = ax.errorbar(
        kappa, mean, yerr=[mean - low, high - mean], fmt=look.marker, color=look.color, capsize=2.5, label="measured"
    )
    ax.set_ylim(bottom=0)
    ax.set_xlabel("κ")
    ax.set_ylabel("distance after / before")
    return [bars, line]


def _maps(ax: Axes, maps: list[dict[str, object]]) -> None:
    # A sequential map that is readable in grey: dark is a small step.
    shades = ScalarMappable(Normalize(0, 1), "viridis")
    for one in sorted(maps, key=lambda one: one["kappa"]):
        theta, after = np.degrees(one["theta"]), np.degrees(np.abs(one["predicted"]))
        ax.plot(theta, after, color=shades.to_rgba(one["kappa"]), linewidth=1.2, label=f"κ = {one['kappa']:g}")
    ax.plot([0, 90], [0, 90], ":", color="#777777", linewidth=1, label="unchanged")
    ax.set_xticks([0, 30, 60, 90])
    ax.set_yticks([0, 30, 60, 90])
    ax.set_xlabel("angle θ before, degrees")
    ax.set_ylabel("angle |θ| after, degrees")
    ax.figure.colorbar(shades, ax=ax, label="κ")
