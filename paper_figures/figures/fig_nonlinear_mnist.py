"""The two-layer model on MNIST: test accuracy against rounds (Figure 2 of the paper), an IID control, and others' numbers."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.analysis import nonlinear_model
from paper_figures.analysis.entry import Entry
from paper_figures.analysis.nonlinear_model import CENTRALISED, Panel
from paper_figures.drawing.style import (
    band,
    furnish,
    grid,
    in_order,
    letter,
    method_style,
    plot_seeds,
    seeds_note,
    styled,
)
from paper_figures.records.sources import Records

COMPARED = "10 clients x 1 label"
"""The panel of which others report final numbers."""

SOURCES = {"paper": ("v", "paper"), "rerun": ("D", "independent rerun")}
"""Source of a quoted number -> marker and words."""


@styled
def figure(records: Records) -> Figure:
    """One panel a partition at the rates that validation chose, and the final accuracies beside those that are quoted."""
    record = records["nonlinear_mnist"]
    panels = nonlinear_model.panels(record, "final")
    reference = nonlinear_model.reference(record, "final")
    result, axes = grid(2, 2, height=5.4)
    handles: dict[str, Line2D] = {}
    for index, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        handles |= _curves(ax, panel)
        _level(ax, panel, reference, record["parameters"]["window"])
        letter(ax, index, panel.name)
    handles |= {name: _handle(name) for name in reference}
    compared = next((panel for panel in panels if panel.name == COMPARED), panels[0])
    _finals(axes.flat[len(panels)], compared.chosen | reference, record["parameters"]["window"])
    letter(axes.flat[len(panels)], len(panels), f"final accuracy, {compared.name}")
    for ax in axes.flat[len(panels) + 1 :]:
        ax.remove()
    parameters = record["parameters"]
    note = (
        f"{nonlinear_model.described_in_full(record)}. Curves: {parameters['rounds']} rounds (IID and centralised "
        f"{parameters['control_rounds']}); {seeds_note(parameters['seeds'])}. Final: mean of the last "
        f"{parameters['window']} rounds. Hollow: not ours, as a third party quotes them [S]; "
        f"{nonlinear_model.quoted()['note']}."
    )
    return furnish(
        result,
        "Two-layer ReLU model on MNIST: accuracy against rounds",
        note,
        [handles[one] for one in in_order(handles)],
    )


def _handle(name: str) -> Line2D:
    look = method_style(name)
    return Line2D([], [], color=look.color, linestyle=look.linestyle, marker=look.marker, label=look.label)


def _curves(ax: Axes, panel: Panel) -> dict[str, Line2D]:
    """The methods' curves; their rates are named in the panel."""
    found = {}
    for name, runs in panel.chosen.items():
        found[name] = plot_seeds(ax, name, runs[0]["rounds"], [run["test_accuracy"] for run in runs])
    rates = ", ".join(f"{nonlinear_model.short(name)} {panel.rate(name):g}" for name in panel.chosen)
    ax.text(0.98, 0.04, f"learning rates: {rates}", transform=ax.transAxes, ha="right", fontsize=7.5, color="#333333")
    ax.set_ylim(0, 1.03)
    ax.set_ylabel("test accuracy")
    ax.set_xlabel("communication rounds")
    return found


def _level(ax: Axes, panel: Panel, reference: dict[str, list[dict[str, Any]]], window: int) -> None:
    """The centralised reference as the level that it ends at: it runs for fewer rounds than the panels."""
    for name, runs in reference.items():
        look = method_style(name)
        finals = nonlinear_model.finals(runs, window)
        ax.axhline(sum(finals) / len(finals), color=look.color, linestyle=look.linestyle, label=look.label)


def _finals(ax: Axes, chosen: dict[str, list[dict[str, Any]]], window: int) -> None:
    """Our final accuracies with their interval, a row a method, and the quoted numbers of the same row hollow."""
    names = in_order(chosen)
    for row, name in enumerate(names):
        look = method_style(name)
        mean, low, high = (
            float(end[0]) for end in band([[one] for one in nonlinear_model.finals(chosen[name], window)])
        )
        ax.errorbar(
            [mean],
            [row],
            xerr=[[mean - low], [high - mean]],
            fmt="o",
            color=look.color,
            capsize=3,
            label=f"here: {name}",
        )
        ax.annotate(f"{mean:.3f}", (mean, row), (0, 6), textcoords="offset points", ha="center", fontsize=7.5)
    for number in nonlinear_model.quoted()["numbers"]:
        if number["panel"] in (COMPARED, CENTRALISED) and number["method"] in names:
            marker, words = SOURCES[number["source"]]
            value, row = number["value"] / 100, names.index(number["method"]) + 0.32
            ax.plot(
                [value], [row], marker, color=method_style(number["method"]).color, markerfacecolor="none",
                label=f"{number['source']}: {number['method']}",
            )  # fmt: skip
            said = f"about {value:.2f}" if number["about"] else f"{value:.3f}"
            # Two numbers may stand in one row: the paper's is written to the left of its mark.
            left = value > 0.75 or number["source"] == "paper"
            ax.annotate(
                f"{said}, {words} [{number['trust']}]", (value, row), (-6 if left else 6, 0),
                textcoords="offset points", va="center", ha="right" if left else "left", fontsize=7, color="#333333",
            )  # fmt: skip
    ax.set_yticks(range(len(names)), [nonlinear_model.short(name).removesuffix(" LoRA") for name in names])
    ax.set_ylim(len(names) - 0.3, -0.5)
    ax.set_xlim(0.2, 1.08)
    ax.set_xlabel("test accuracy")


ENTRY = Entry(
    "fig_nonlinear_mnist",
    title="Two-layer model on MNIST: accuracy against rounds",
    shows=(
        "Test accuracy of the three methods for the paper's two partitions and an IID control at the paper's sizes, each "
        "at the learning rate that a validation split chose, with a centralised reference and the numbers quoted elsewhere."
    ),
    counterpart="arXiv 2502.01755v4, Figure 2",
    needs=("nonlinear_mnist",),
    make=figure,
)
