"""Contraction of RoLoRA on the linear model: the claimed factor over the whole range of steps, and the closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.linear_model import described, has_ratios, panel
from paper_figures.drawing.style import band, furnish, grid, letter, method_style, seeds_note, styled
from paper_figures.records.sources import Records

NAMED = ("num_clients", "ratio_samples", "dimension", "ratio_delta0")
"""The linear record's parameters that the figure names."""

RANGE_NAMED = ("num_clients", "samples", "dimension", "delta0")
"""Parameters named of the contraction record."""

CLAIMED, LOCAL, DARK = "#D55E00", "#56B4E9", "#444444"
"""Colours of the claimed factor, of the ratio close to a*, and of formulas."""

LOSSES = {1: "(1/2m)‖·‖², gradient factor 1", 2: "(1/m)‖·‖², gradient factor 2"}


@styled
def figure(records: Records) -> Figure:
    """(a, b) measured ratios against the claimed factor, both conventions; (c) ratio near a*; (d) the map of angles."""
    runs, maps = panel(records["linear"], "local-ratio"), panel(records["linear"], "population-map")
    result, axes = grid(2, 2, height=5.9)
    for index, (factor, loss) in enumerate(LOSSES.items()):
        handles = _range(
            axes[0, index], [one for one in records["contraction"]["series"] if one["gradient_factor"] == factor]
        )
        letter(axes[0, index], index, f"loss {loss}")
    handles += _ratios(axes[1, 0], runs)
    letter(axes[1, 0], 2, "one iteration near a*, fixed data")
    if maps:
        _maps(axes[1, 1], maps)
        letter(axes[1, 1], 3, "angle after one iteration, closed form")
    else:
        axes[1, 1].remove()
    seeds = len({one["seed"] for one in records["contraction"]["series"]} - {None})
    note = (
        f"Linear model, synthetic data; κ = η‖b*‖². (a, b) {described(records['contraction']['parameters'], RANGE_NAMED)}: the "
        "largest ratio over angle distances up to delta0 (root mean square over directions), against the factor "
        "√(1 − κc₀), c₀ = 1 − delta0², that is claimed for κ ≤ 1 (dotted). Shaded: the claim is false in the population. "
        f"Lines: population; points: fixed data, {seeds_note(seeds).replace('band', 'bars')}.\n"
        f"(c) {described(records['linear']['parameters'], NAMED)}, gradient factor 2, "
        f"{seeds_note(len(runs)).replace('band', 'bars')}. (d) is a formula, not a measurement."
    )
    return furnish(result, "Linear model: contraction of RoLoRA (Algorithm 2)", note, handles)


def _range(ax: Axes, series: list[dict[str, Any]]) -> list[Any]:
    look = method_style("rolora")
    (limit,) = [one for one in series if one["data"] == "population"]
    runs = [one for one in series if one["data"] == "fixed"]
    kappa, end = np.asarray(limit["kappa"]), limit["range_end"]
    claimed = [np.nan if one is None else one for one in limit["claimed"]]
    (bound,) = ax.plot(kappa, claimed, color=CLAIMED, linestyle=(0, (5, 1.5)), label="claimed factor √(1 − κc₀)")
    (worst,) = ax.plot(kappa, limit["worst"], color=look.color, label="largest ratio, population")
    (local,) = ax.plot(kappa, limit["local"], color=LOCAL, linestyle=(0, (1.2, 1.2)), label="ratio near a*, population")
    mean, low, high = band([run["worst"] for run in runs])
    bars = ax.errorbar(
        runs[0]["kappa"], mean, yerr=[mean - low, high - mean], fmt=look.marker, color=look.color, capsize=2.5,
        linestyle="none", label="largest ratio, fixed data",
    )  # fmt: skip
    ax.axvspan(end, kappa[-1], color=CLAIMED, alpha=0.1, linewidth=0)
    ax.axvline(1, color=DARK, linestyle=":", linewidth=1)
    ax.set_xlim(0, kappa[-1])
    ax.set_ylim(0, 1.55)
    formula = "1 − c₀/4" if limit["gradient_factor"] == 2 else "2 − c₀"
    ax.text(0.03, 0.97, f"shaded:\nκ > {formula} = {end:.2f}", transform=ax.transAxes, va="top", fontsize=8)
    ax.set_xlabel("κ")
    ax.set_ylabel("distance after / before")
    return [bound, worst, local, bars]


def _ratios(ax: Axes, runs: list[dict[str, Any]]) -> list[Any]:
    look = method_style("rolora")
    kappa = np.asarray(runs[0]["kappa"])
    (line,) = ax.plot(kappa, runs[0]["predicted"], "-", color=DARK, label="|1 − 2κ|")
    mean, low, high = band([run["measured"] for run in runs])
    bars = ax.errorbar(
        kappa, mean, yerr=[mean - low, high - mean], fmt=look.marker, color=look.color, capsize=2.5,
        markerfacecolor="white", label="ratio near a*, fixed data",
    )  # fmt: skip
    ax.set_ylim(bottom=0)
    ax.set_xlabel("κ")
    ax.set_ylabel("distance after / before")
    return [bars, line]


def _maps(ax: Axes, maps: list[dict[str, Any]]) -> None:
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


ENTRY = Entry(
    "fig_contraction",
    title="Linear model: contraction of RoLoRA",
    shows=(
        "The largest factor by which one iteration shrinks the angle distance, measured over the whole range of steps in both "
        "conventions of the loss, beside the claimed factor and where that stops being true; the factor near the solution "
        "beside |1 − 2κ|; and the map of angles."
    ),
    counterpart="arXiv 2502.01755v4, Lemma 4.4",
    needs=("linear", "contraction"),
    make=figure,
    applies=lambda records: has_ratios(records["linear"]),
)
