"""Accuracy against the adapter's rank: at equal rounds, at equal bytes of a factor, and against all bytes."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import furnish, grid, letter, method_style, styled
from paper_figures.panels import studied_settings, swept_setting
from paper_figures.panels.studied_settings import AXES, BUDGETS
from paper_figures.records.sources import Records

OFFSETS = ((-9, 5), (-9, -11), (4, -11))
"""Of a rank's number from its point, method by method."""


@styled
def figure(records: Records) -> Figure:
    """Panels of equal budget, and one of the final metric against what was sent in all, every point with its rank."""
    found = studied_settings.panels(records, "ranks")
    shown = swept_setting.by_budget(records["ranks"], AXES["ranks"], {"rounds": BUDGETS["ranks"]["rounds"]})
    axis, columns = AXES["ranks"], 2
    rows = -(-(len(found) + len(shown)) // columns)
    result, axes = grid(rows, columns, height=2.9 * rows)
    handles: dict[str, Any] = {}
    for index, (ax, panel) in enumerate(zip(axes.flat, found, strict=False)):
        handles |= swept_setting.draw(ax, panel)
        letter(ax, index, swept_setting.wrapped(panel.title, 36))
        ax.set_xlabel(axis.title)
        ax.set_ylabel(f"test {outcomes.metric(panel.any_run)}")
    for index, (ax, panel) in enumerate(zip(axes.flat[len(found) :], shown, strict=False), len(found)):
        _against_bytes(ax, panel)
        letter(ax, index, swept_setting.wrapped(f"{panel.title}, numbers: ranks", 36))
    for ax in axes.flat[len(found) + len(shown) :]:
        ax.remove()
    note = (
        "Equal rank × rounds: the same bytes of a factor in all, so a method that sends one factor a round sends half of "
        "what FedAvg-LoRA sends. Each method at its own learning rate."
    )
    names = outcomes.models([panel.any_run for panel in found])
    return furnish(
        result,
        f"{names}: rank, and rank at equal bytes",
        f"{swept_setting.words(found, AXES['ranks'].keys)} {note}",
        swept_setting.in_legend(handles),
    )


def _against_bytes(ax: Axes, panel: swept_setting.Panel) -> None:
    for number, ((name, _), places) in enumerate(panel.lines.items()):
        look = method_style(name)
        for place, runs in places.items():
            found, sent = outcomes.mean(runs), outcomes.megabytes(runs[0])[-1] * 1.03**number  # side by side
            ax.errorbar(
                sent,
                found.mean,
                yerr=found.half_width or 0.0,
                fmt=look.marker,
                color=look.color,
                capsize=2.5,
                elinewidth=1,
            )
            ax.annotate(
                panel.labels[place],
                (sent, found.mean),
                xytext=OFFSETS[number % 3],
                textcoords="offset points",
                fontsize=8,
            )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("megabytes sent, up and down, all clients")
    ax.set_ylabel(f"test {outcomes.metric(panel.any_run)}")


ENTRY = Entry(
    "fig_ranks",
    title="Federated fine-tuning: rank",
    shows="The final metric for ranks 1 to 32 at equal rounds, at equal bytes of a factor, and against all bytes sent.",
    counterpart="arXiv 2409.02346, Tables 1 and 3",
    needs=("ranks",),
    make=figure,
    applies=lambda records: bool(studied_settings.panels(records, "ranks")),
)
