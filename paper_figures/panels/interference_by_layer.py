"""The part of the mean update that each method missed, layer by layer: on toy layers beside a real encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from paper_figures.analysis.groups import describe
from paper_figures.analysis.methods import EXACT, by_method, short
from paper_figures.drawing.style import furnish, grid, in_order, letter, method_style, styled
from paper_figures.records.sources import Records

SHADES = "cividis"
"""Sequential, and the same to all kinds of colour vision."""

Missed = dict[str, dict[str, float]]
"""Method -> layer -> the median miss, relative to the round's movement."""


def by_layer(rounds: Mapping[str, Sequence[Mapping[str, Mapping[str, float | None]]]], what: str = "missed") -> Missed:
    """The medians over rounds in which the clients moved the layer.

    Args:
        rounds: method -> for every round, layer -> "interference" and "missed".
        what: which of the two.

    Example:
        >>> by_layer({"rolora": [{"one": {"missed": 0.25}}, {"one": {"missed": None}}]})
        {'rolora': {'one': 0.25}}
    """
    found: Missed = {}
    for name, entries in rounds.items():
        values = {layer: [entry[layer][what] for entry in entries] for layer in entries[0]}
        found[name] = {
            layer: float(np.median([one for one in row if one is not None])) for layer, row in values.items()
        }
    return found


def of_records(records: Records, what: str = "missed") -> Missed:
    """Return the same over all seeds of the methods' runs; a method of which it was not measured is left out."""
    rounds = {
        name: [entry["lost"] for run in runs for entry in run["rounds"] if entry.get("lost")]
        for name, runs in by_method(records["methods"]).items()
        if name != "centralised"
    }
    return by_layer({name: entries for name, entries in rounds.items() if entries}, what)


def exact_methods(missed: Missed) -> list[str]:
    """The methods that miss nothing in any layer, in the order of the legends."""
    return in_order(name for name, layers in missed.items() if max(layers.values()) < EXACT)


@styled
def figure(toy: Mapping[str, Sequence[Any]], records: Records) -> Figure:
    """(a) toy layers, (b) the adapted layers of the encoder; a row a method, a column a layer."""
    panels = {"toy layers": by_layer(toy), "": of_records(records)}
    run = records["methods"][0]
    names = in_order(set.union(*(set(one) for one in panels.values())))
    result, axes = grid(1, 2, height=0.5 + 0.27 * len(names))
    for index, (title, missed) in enumerate(panels.items()):
        _panel(axes[0, index], missed, names, labelled=index == 0)
        letter(axes[0, index], index, title or run["model"]["name"])
    seeds = len({one["seed"] for one in records["methods"]})
    note = (
        "‖D − U'‖ / ‖D − U‖: what the server's update misses of the mean update D, relative to the round's movement; median "
        f"over rounds (and {seeds} seeds). “exact”: below {100 * EXACT:.3f} %. (a) {len(panels['toy layers'][names[0]])} synthetic layers "
        "whose clients' targets differ by the spread. (b) "
        f"{describe(run)}; {run['config']['federation']['num_clients']} clients."
    )
    return furnish(result, "What each method misses, layer by layer", note, _shades())


def _shades() -> list[Patch]:
    colours = matplotlib.colormaps[SHADES]
    shown = {"nothing missed": 0.0, "half of the round's movement": 0.5, "all of it": 1.0}
    return [Patch(color=colours(value), label=label) for label, value in shown.items()]


def _panel(ax: Axes, missed: Missed, names: Sequence[str], labelled: bool) -> None:
    layers = list(next(iter(missed.values())))
    values = np.array([[missed.get(name, {}).get(layer, np.nan) for layer in layers] for name in names])
    ax.imshow(values, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        text = "–" if np.isnan(value) else "exact" if value < EXACT else f"{value:.2f}"
        dark = np.isnan(value) or value > 0.55
        ax.text(column, row, text, ha="center", va="center", fontsize=7.5, color="#111111" if dark else "#ffffff")
    ax.set_yticks(range(len(names)), [method_style(name).label for name in names] if labelled else [])
    ax.set_xticks(range(len(layers)), [short(layer) for layer in layers], rotation=30, ha="right")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
