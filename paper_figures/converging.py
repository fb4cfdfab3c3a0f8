"""Curves of the metric that counts against rounds, a panel for each group of runs that may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figures import outcomes
from paper_figures.style import count_note, furnish, grid, letter, plot_seeds
from paper_figures.swept import COLUMNS, Axis, Panel, described_run, in_legend, panels, share_heights, wrapped

ROUNDS = Axis(frozenset(), lambda run: 0, lambda run: "", "communication rounds")
"""Nothing varies but method and seed."""


def figure(records: Sequence[outcomes.Run], title: str, note: str) -> Figure:
    """A panel for each task, model and setting; the last point is on test text, whatever the rounds were measured on.

    Args:
        records: runs.
        title: what is asked; the model's name is put before it.
        note: what a reader has to know beside model, data, seeds and interval.
    """
    found = panels(records, ROUNDS, least=1)
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    result, axes = grid(rows, columns, height=2.7 * rows, width=7.2 if columns > 1 else 6.0)
    handles: dict[str, Any] = {}
    for index, (ax, panel) in enumerate(zip(axes.flat, found, strict=False)):
        handles |= _panel(ax, panel)
        letter(ax, index, wrapped(panel.title, 58 // columns))
    share_heights(axes.flat, found)
    for ax in axes.flat[len(found) :]:
        ax.remove()
    counts = [len(runs) for panel in found for line in panel.lines.values() for runs in line.values()]
    described = "; ".join(dict.fromkeys(described_run(panel.any_run) for panel in found))
    return furnish(
        result,
        f"{outcomes.models([panel.any_run for panel in found])}: {title}",
        f"{described}. Curves: {count_note(counts)}. {note}",
        in_legend(handles),
    )


def _panel(ax: Any, panel: Panel) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    splits = set()
    for (name, _), places in panel.lines.items():
        runs = next(iter(places.values()))
        rounds, values, split = outcomes.curves(runs)
        splits.add(split)
        handle = plot_seeds(ax, name, rounds, values)
        handles[handle.get_label()] = handle
        if split != "test":
            last = outcomes.mean(runs)
            ax.errorbar(
                rounds[-1] * 1.06,
                last.mean,
                yerr=last.half_width or 0.0,
                fmt=handle.get_marker() or ".",
                color=handle.get_color(),
                capsize=2.5,
                markerfacecolor="white",
            )
    name = outcomes.metric(panel.any_run)
    majority = panel.any_run["data"].get("majority_rate")
    if majority is not None and name == "accuracy":
        handles["larger class"] = ax.axhline(
            majority, color="#777777", linestyle="--", linewidth=1, label="larger class"
        )
    ax.set_xlabel(ROUNDS.title)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_ylabel(f"{' and '.join(sorted(splits))} {name}" + ("; open: test" if splits != {"test"} else ""))
    return handles
