"""The two-layer model on handwritten digits: final accuracy against learning rate, the whole grid."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis import nonlinear_model
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import count_note, furnish, grid, in_order, letter, plot_seeds, styled
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """One panel a partition; a ring marks the rate that validation chose."""
    panels = nonlinear_model.panels(records["nonlinear"])
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    result, axes = grid(rows, columns, height=2.5 * rows)
    window = records["nonlinear"]["parameters"]["window"]
    seeds, handles = [], {}
    for index, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        for name in in_order(panel.grid):
            rates = sorted(panel.grid[name])
            finals = [nonlinear_model.finals(panel.grid[name][rate], window) for rate in rates]
            line = plot_seeds(ax, name, rates, list(zip(*finals, strict=True)), markevery=1)
            chosen = rates.index(panel.rate(name))
            ax.plot(
                [rates[chosen]], [line.get_ydata()[chosen]], "o", markersize=10, markerfacecolor="none",
                markeredgecolor=line.get_color(), markeredgewidth=1.3, label=f"chosen: {name}",
            )  # fmt: skip
            handles[name] = line
            seeds.append(len(finals[0]))
        ax.set_xscale("log")
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.minorticks_off()
        ax.set_ylim(0, 1.05)
        ax.set_ylabel("final test accuracy")
        ax.set_xlabel("learning rate (SGD)")
        letter(ax, index, panel.name)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    note = (
        f"{nonlinear_model.described(records['nonlinear'])}; {count_note(seeds)}; final: mean of the last {window} "
        "evaluations; ring: chosen on the validation split."
    )
    title = "Two-layer ReLU model on 8 x 8 digits: accuracy against learning rate"
    return furnish(result, title, note, [handles[name] for name in in_order(handles)])


ENTRY = Entry(
    "fig_learning_rates",
    title="Two-layer model on digits: accuracy against learning rate",
    shows=(
        "Final test accuracy over the whole grid of learning rates, so that the order of methods can be judged at every "
        "rate and not at one."
    ),
    counterpart="arXiv 2502.01755v4, Figure 2 (which shows one curve a method)",
    needs=("nonlinear",),
    make=figure,
)
