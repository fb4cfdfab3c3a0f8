"""Curves of the metric that counts against rounds, a panel for each group of runs that may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figures.analysis import runs as outcomes
from paper_figures.drawing.style import count_note, plot_seeds, within
from paper_figures.panels.swept_setting import Axis, Panel, described_runs, laid_out, majority_class, panels

ROUNDS = Axis(frozenset(), lambda run: 0, lambda run: "", "communication rounds")
"""Nothing varies but method and seed."""


def figure(records: Sequence[outcomes.Run], title: str, note: str) -> Figure:
    """A panel for each task, model and setting; the last point is on test text, whatever the rounds were measured on.

    Args:
        records: runs.
        title: what is asked; the model's name is put before it.
        note: what a reader has to know beside model, data, seeds and interval.
    """
    groups = panels(records, ROUNDS, least=1)
    counts = [len(runs) for panel in groups for line in panel.lines.values() for runs in line.values()]
    described = described_runs([panel.any_run for panel in groups])
    return laid_out(groups, _panel, 2.7, title, f"{described}. Curves: {count_note(counts)}. {note}")


def _panel(ax: Any, panel: Panel) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    splits = set()
    for number, ((name, _), places) in enumerate(panel.lines.items()):
        runs = next(iter(places.values()))
        rounds, values, split = outcomes.curves(runs)
        splits.add(split)
        handle = plot_seeds(ax, name, rounds, values)
        handles[handle.get_label()] = handle
        if split != "test":
            last = outcomes.mean(runs)
            ax.errorbar(
                rounds[-1] * (1.04 + 0.04 * number),  # side by side
                last.mean,
                yerr=last.half_width or 0.0,
                fmt=handle.get_marker() or ".",
                color=handle.get_color(),
                capsize=2.5,
                markerfacecolor="white",
            )
    name = outcomes.metric(panel.any_run)
    handles |= majority_class(ax, panel)
    within(ax, name)
    ax.set_xlabel(ROUNDS.title)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_ylabel(f"{' and '.join(sorted(splits))} {name}" + ("; open: test" if splits != {"test"} else ""))
    return handles
