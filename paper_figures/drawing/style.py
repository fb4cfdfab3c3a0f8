"""Style of all figures: one colour, marker, line style and label a method; title, legend and note.

Colours are those of Okabe and Ito, which stay apart for the common forms of colour blindness; marker and line style
carry the same information in grey print.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rolora.evaluation.intervals import student_quantile

SMALLEST = 1e-17
"""Below this a distance in float64 is rounding, and it may be zero, which has no logarithm."""

TITLE_HEIGHT, LEGEND_HEIGHT, NOTE_HEIGHT = 0.34, 0.22, 0.152
"""Inches that a title, a row of the legend and a line of the note take."""

LEGEND_CHARACTER, NOTE_CHARACTERS = 0.075, 16.5
"""Inches that a character of the legend takes, and characters of the note that fit into an inch."""

RC = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.hashsalt": "paper_figures",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}
"""matplotlib's settings for every figure; whatever the user has set elsewhere does not reach a figure."""


@dataclass(frozen=True)
class MethodStyle:
    """The look of one method in every figure."""

    label: str
    color: str
    marker: str
    linestyle: Any


METHODS = {
    "fedavg-lora": MethodStyle("FedAvg-LoRA", "#D55E00", "s", (0, (5, 1.5))),
    "ffa-lora": MethodStyle("FFA-LoRA", "#009E73", "^", (0, (1.2, 1.2))),
    "rolora": MethodStyle("RoLoRA", "#0072B2", "o", "-"),
    "flexlora": MethodStyle("FlexLoRA", "#CC79A7", "D", (0, (3, 1, 1, 1))),
    "flora": MethodStyle("FLoRA", "#E69F00", "v", (0, (7, 2))),
    "fedex-lora": MethodStyle("FedEx-LoRA", "#56B4E9", "P", (0, (4, 1, 1, 1, 1, 1))),
    "fedsvd": MethodStyle("FedSVD", "#8C6D1F", ">", (0, (2, 1))),
    "fedrot-lora": MethodStyle("FedRot-LoRA", "#B03060", "p", (0, (2, 2, 6, 2))),
    "lora-fair": MethodStyle("LoRA-FAIR", "#7B4FA3", "<", (0, (6, 1, 1, 1))),
    "la-lora": MethodStyle("LA-LoRA", "#A6440B", "X", (0, (3, 2, 1, 2))),
    "hetlora": MethodStyle("HetLoRA", "#3A7D44", "h", (0, (5, 1, 2, 1))),
    "fedsa-lora": MethodStyle("FedSA-LoRA", "#004B7A", "*", (0, (8, 1))),
    "local-only": MethodStyle("local only", "#999999", "d", (0, (1, 2))),
    "centralised": MethodStyle("centralised LoRA", "#555555", "", (0, (6, 2, 1, 2))),
}
"""Method name -> look, in the order of every legend and table."""

PARTS = {"A": ("#44446A", ""), "B": ("#9C9CCB", "///"), "head": ("#C9C9C9", "...")}
"""Part of a message -> colour and hatch."""


def method_style(name: str) -> MethodStyle:
    """The look of a method; one that is not listed is drawn in black under its own name."""
    return METHODS.get(name, MethodStyle(name, "#000000", "x", "-"))


def in_order(names: Iterable[str]) -> list[str]:
    """Method names in the order of the legends, unknown ones last."""
    known = list(METHODS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under :data:`RC` and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapper(*arguments: Any, **options: Any) -> Figure:
        with matplotlib.rc_context(RC | {"axes.prop_cycle": matplotlib.rcParamsDefault["axes.prop_cycle"]}):
            return draw(*arguments, **options)

    return wrapper


def grid(rows: int, columns: int, height: float, width: float = 7.2) -> tuple[Figure, np.ndarray]:
    """A figure that belongs to no window, and its axes, (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False)


def plot_seeds(
    axes: Axes,
    name: str,
    x: Sequence[float],
    curves: Sequence[Sequence[float]],
    logarithmic: bool = False,
    **options: Any,
) -> Line2D:
    """The mean over seeds as a line, and its 95 % interval as a band where there is more than one seed.

    Args:
        axes: where to draw.
        name: the method.
        x: common to all curves.
        curves: one a seed, each as long as x.
        logarithmic: geometric mean and its interval, for a logarithmic axis.
        options: for the line; they win over the method's look.

    Returns:
        The line, labelled with the method's name.
    """
    look = method_style(name)
    mean, low, high = band(curves, logarithmic)
    settings = {"color": look.color, "linestyle": look.linestyle, "marker": look.marker, "label": look.label}
    settings |= {"markevery": max(1, len(x) // 10)} | options
    (line,) = axes.plot(x, mean, **settings)
    if len(curves) > 1:
        axes.fill_between(x, low, high, color=settings["color"], alpha=0.15, linewidth=0)
    return line


def band(curves: Sequence[Sequence[float]], logarithmic: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lower and upper end of Student's 95 % interval at every point; equal where there is one curve.

    Args:
        curves: one a seed.
        logarithmic: of the logarithms, taken back; what is below :data:`SMALLEST` counts as that.

    Example:
        >>> [round(float(end[0]), 2) for end in band([[1.0], [2.0], [3.0]])]
        [2.0, -0.48, 4.48]
        >>> round(float(band([[1.0], [100.0]], logarithmic=True)[0][0]), 6)
        10.0
    """
    values = np.asarray(curves, dtype=float)
    if logarithmic:
        return tuple(np.exp(end) for end in band(np.log(np.maximum(values, SMALLEST))))
    if len(values) == 1:
        return values[0], values[0], values[0]
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    half = student_quantile(len(values) - 1) * deviation / np.sqrt(len(values))
    return mean, mean - half, mean + half


def seeds_note(num_seeds: int, what: str = "seeds") -> str:
    """Return a note on the number of seeds and the bands.

    Example:
        >>> seeds_note(5)
        'mean of 5 seeds, band: 95 % Student interval of the mean'
        >>> seeds_note(1)
        'one seed: no interval can be drawn'
    """
    if num_seeds == 1:
        return f"one {what.removesuffix('s')}: no interval can be drawn"
    return f"mean of {num_seeds} {what}, band: 95 % Student interval of the mean"


def count_note(counts: Iterable[int]) -> str:
    """The note on seeds where panels may have different numbers of them."""
    numbers = sorted(set(counts))
    if len(numbers) == 1:
        return seeds_note(numbers[0])
    return f"mean of {numbers[0]} to {numbers[-1]} seeds (see the panels), band: 95 % Student interval of the mean"


def furnish(figure: Figure, title: str, note: str, handles: Sequence[Any]) -> Figure:
    """Title and one legend for all panels above, and below what was run: model, data, scale, seeds, interval.

    The figure grows by what they need, so they can lie neither over the panels nor over each other.
    """
    width, height = figure.get_size_inches()
    lines = [line for part in note.split("\n") for line in textwrap.wrap(part, int(NOTE_CHARACTERS * width))]
    wide = sum(0.62 + LEGEND_CHARACTER * len(handle.get_label()) for handle in handles)
    columns = -(-len(handles) // max(1, -(-int(100 * wide) // int(100 * width))))
    above = TITLE_HEIGHT + LEGEND_HEIGHT * -(-len(handles) // columns)
    below = NOTE_HEIGHT * len(lines) + 0.08
    whole = height + above + below
    figure.set_size_inches(width, whole)
    figure.get_layout_engine().set(rect=(0, below / whole, 1, height / whole))
    left = 0.08 / width
    figure.text(left, 1 - 0.07 / whole, title, fontsize=11, fontweight="bold", va="top")
    figure.text(left, 0.06 / whole, "\n".join(lines), fontsize=8, va="bottom", linespacing=1.35, color="#333333")
    legend = figure.legend(
        handles=list(handles), loc="upper left", bbox_to_anchor=(0, 1 - (TITLE_HEIGHT - 0.04) / whole), ncols=columns,
        columnspacing=1.6, handlelength=2.6, borderaxespad=0.3,
    )  # fmt: skip
    legend.set_in_layout(False)
    return _settled(figure)


def _settled(figure: Figure) -> Figure:
    # The layout's solver leaves the last digits of a position to chance, and a PDF's tenth decimal may show it.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.set_position([round(number, 6) for number in ax.get_position().bounds])
    return figure


def share_heights(axes: Iterable[Axes]) -> None:
    """One vertical scale for all, so that heights may be compared."""
    panels = list(axes)
    ends = [ax.get_ylim() for ax in panels]
    for ax in panels:
        ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def within(ax: Axes, metric: str) -> None:
    """Cut the vertical scale to what an accuracy can be: an interval of few seeds may reach beyond."""
    low, high = ax.get_ylim()
    if metric == "accuracy" and (low < 0 or high > 1):
        ax.set_ylim(max(low, 0.0), min(high, 1.0))


def letter(axes: Axes, index: int, title: str) -> None:
    """A panel's letter and title."""
    axes.set_title(f"({'abcdefghijklmnop'[index]}) {title}", loc="left")
