"""The linear model: how far each method's a is from a*, and how far its product, against communication rounds."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.linear_model import TITLES, curves, described, fedavg_converges, headline
from paper_figures.drawing.style import count_note, furnish, grid, letter, method_style, plot_seeds, styled
from paper_figures.records.sources import Records

METRICS = {
    "angle_distance": "angle distance |sin θ(a, a*)|",
    "relative_error": "relative error of the product",
}

NAMED = ("num_clients", "samples", "dimension", "outputs", "kappa", "eta", "local_steps", "gradient_factor")
"""The record's parameters that the figure names."""


@styled
def figure(records: Records) -> Figure:
    """One column a panel of the record, one row a metric, logarithmic."""
    panels = {title: found for name, title in TITLES.items() if (found := curves(records["linear"], name))}
    result, axes = grid(len(METRICS), len(panels), height=5.0)
    seeds, handles = [], {}
    for column, (title, found) in enumerate(panels.items()):
        for row, (metric, label) in enumerate(METRICS.items()):
            ax = axes[row, column]
            for one in found:
                # A second kind of local update keeps the method's colour and marker, unfilled and in another dash.
                other = {"markerfacecolor": "white", "linestyle": (0, (6, 1, 1, 1))} if one.variant else {}
                look = {"label": one.label, "zorder": 3 if method_style(one.algorithm).linestyle == "-" else 2} | other
                values = [run[metric] for run in one.runs]
                line = plot_seeds(ax, one.algorithm, one.runs[0]["rounds"], values, logarithmic=True, **look)
                handles[one.label] = line
                seeds.append(len(one.runs))
            ax.set_yscale("log")
            if column == 0:
                ax.set_ylabel(label)
            letter(ax, row * len(panels) + column, title)
        axes[-1, column].set_xlabel("communication rounds")
    note = (
        f"Linear model, synthetic data: {described(records['linear']['parameters'], NAMED)}. Curves: geometric "
        f"{count_note(seeds)}.\n{reading(records)}"
    )
    return furnish(result, "Linear model: distance to the solution", note, list(handles.values()))


def reading(records: Records) -> str:
    """Return what may be concluded from the figure, by the record's end points."""
    text = headline(records["linear"]) + "."
    if fedavg_converges(records["linear"]):
        text += " FedAvg-LoRA converges too: this model shows the floor of FFA-LoRA and nothing more."
    return text


ENTRY = Entry(
    "fig_linear",
    title="Linear model: distance to the solution",
    shows=(
        "Angle distance and relative error of the three methods against communication rounds. It shows the floor of "
        "FFA-LoRA; it cannot separate RoLoRA from FedAvg-LoRA."
    ),
    counterpart="arXiv 2502.01755v4, section 4.1 (no experiment of the paper was found there)",
    needs=("linear",),
    make=figure,
    applies=lambda records: bool(curves(records["linear"], "trajectories")),
)
