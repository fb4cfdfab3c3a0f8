"""Samples that a contraction takes on the linear model: curves of different N fall together against N m."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.linear_model import described, panel
from paper_figures.drawing.style import band, furnish, grid, letter, seeds_note, styled
from paper_figures.records.sources import Records

NAMED = ("dimension", "instances", "kappa", "gradient_factor")
"""The record's parameters that the figure names."""

LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))
"""Colour and marker of the numbers of clients, the smallest first."""

DARK = "#444444"


@styled
def figure(records: Records) -> Figure:
    """(a) the ratio against m; (b) the same against N m; (c) the N m for a given ratio against d."""
    record = records["sample_complexity"]
    result, axes = grid(1, 3, height=2.9, width=7.8)
    groups, needed = by_clients(panel(record, "ratio")), by_clients(panel(record, "needed"))
    for ax in axes[0]:
        ax.set_xscale("log")
        ax.set_yscale("log")
    handles = _ratios(axes[0, 0], groups, pooled=False)
    line = _ratios(axes[0, 1], groups, pooled=True)[-1]
    _needed(axes[0, 2], needed)
    letter(axes[0, 0], 0, "against m, one client's")
    letter(axes[0, 1], 1, "against N m, pooled")
    letter(axes[0, 2], 2, f"N m for ratio {record['parameters']['contraction']:g}")
    seeds = len(next(iter(groups.values())))
    note = (
        f"Linear model, synthetic data: {described(record['parameters'], NAMED)}; one iteration of Algorithm 2 near a*, root "
        f"mean square over instances. Lines: {seeds_note(seeds)} (geometric). "
        f"{slopes(needed)}"
    )
    return furnish(result, "Linear model: how many samples a contraction takes", note, [*handles, line])


def by_clients(series: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """N -> its series by seed, the smallest N first."""
    return {
        number: [one for one in series if one["num_clients"] == number]
        for number in sorted({one["num_clients"] for one in series})
    }


def slopes(needed: dict[int, list[dict[str, Any]]]) -> str:
    """The slopes of panel (c) with their intervals over seeds, in words."""
    found = []
    for number, runs in needed.items():
        mean, low, high = band([[run["slope"]] for run in runs])
        found.append(f"{mean[0]:.2f} [{low[0]:.2f}, {high[0]:.2f}] for N = {number}")
    return f"Slope in log d (1 is predicted): {', '.join(found)}."


def _ratios(ax: Axes, groups: dict[int, list[dict[str, Any]]], pooled: bool) -> list[Any]:
    handles = []
    for (number, runs), (color, marker) in zip(groups.items(), LOOKS, strict=False):
        x = np.asarray(runs[0]["samples"]) * (number if pooled else 1)
        handles.append(_line(ax, x, runs, f"N = {number}", color, marker))
    rows = np.concatenate([np.asarray(runs[0]["samples"]) * number for number, runs in groups.items()])
    predicted = np.concatenate([runs[0]["predicted"] for runs in groups.values()])
    ax.set_xlabel("N m" if pooled else "m")
    _ticks(ax.yaxis, [0.05, 0.1, 0.2, 0.4, 0.8])
    ax.set_ylim(np.min(predicted) / 1.2, np.max(predicted) * 1.2)
    if pooled:
        order = np.argsort(rows)
        handles += ax.plot(rows[order], predicted[order], "--", color=DARK, linewidth=1, zorder=4, label="predicted")
    else:
        ax.set_ylabel("distance after / before")
    return handles


def _needed(ax: Axes, groups: dict[int, list[dict[str, Any]]]) -> None:
    for (number, runs), (color, marker) in zip(groups.items(), LOOKS, strict=False):
        _line(ax, np.asarray(runs[0]["dimensions"]), runs, f"N = {number}", color, marker)
    first = next(iter(groups.values()))[0]
    ax.plot(first["dimensions"], first["predicted"], "--", color=DARK, linewidth=1, zorder=4, label="predicted")
    _ticks(ax.xaxis, first["dimensions"])
    _ticks(ax.yaxis, first["predicted"])
    ax.set_xlabel("d")
    ax.set_ylabel("N m")


def _ticks(axis: Axis, places: Sequence[float]) -> None:
    """Plain numbers at these places and nowhere else: powers of ten would leave an axis of one decade bare."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _line(ax: Axes, x: np.ndarray, runs: list[dict[str, Any]], label: str, color: str, marker: str) -> Any:
    mean, low, high = band([run["measured"] for run in runs], logarithmic=True)
    (line,) = ax.plot(x, mean, color=color, marker=marker, linewidth=1.2, label=label)
    if len(runs) > 1:
        ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    return line


ENTRY = Entry(
    "fig_sample_complexity",
    title="Linear model: how many samples a contraction takes",
    shows=(
        "What is left of a small angle after one iteration, against the samples of a client and of all clients together; "
        "and the pooled samples that a given contraction takes, against the dimension."
    ),
    counterpart="arXiv 2502.01755v4, Lemma 4.4 (its sample size is per client)",
    needs=("sample_complexity",),
    make=figure,
)
