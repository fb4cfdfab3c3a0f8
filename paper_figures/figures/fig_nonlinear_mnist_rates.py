"""The two-layer model on MNIST: accuracy of every learning rate of the sweep, the chosen one marked."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis import nonlinear_model
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import furnish, grid, in_order, letter, plot_seeds, seeds_note, styled
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """One panel a partition and one for the centralised reference; a ring marks the rate that validation chose."""
    record = records["nonlinear_mnist"]
    parameters = record["parameters"]
    reference = nonlinear_model.reference_panel(record, "sweep")
    panels = nonlinear_model.panels(record, "sweep") + ([reference] if reference else [])
    rows = -(-len(panels) // 2)
    result, axes = grid(rows, 2, height=2.5 * rows)
    handles = {}
    for index, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        for name in in_order(panel.grid):
            rates = sorted(panel.grid[name])
            finals = [nonlinear_model.finals(panel.grid[name][rate], parameters["window"]) for rate in rates]
            handles[name] = plot_seeds(ax, name, rates, list(zip(*finals, strict=True)), markevery=1)
            chosen = rates.index(panel.rate(name))
            ax.plot(
                [rates[chosen]], [handles[name].get_ydata()[chosen]], "o", markersize=10, markerfacecolor="none",
                markeredgecolor=handles[name].get_color(), markeredgewidth=1.3, label=f"chosen: {name}",
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.minorticks_off()
        ax.set_ylim(0, 1.05)
        ax.set_ylabel("test accuracy")
        ax.set_xlabel("learning rate (SGD)")
        last = panel.chosen[name][0]["rounds"][-1]
        letter(ax, index, f"{panel.name}, {last} rounds")
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    note = (
        f"{nonlinear_model.described_in_full(record)}; {seeds_note(parameters['sweep']['seeds'])}. Accuracy: mean of "
        f"the last {parameters['window']} rounds of the sweep. Ring: chosen on the validation split, from which the test "
        "accuracy drawn here may differ; the best rate after all rounds may be another."
    )
    ends = "; ".join(
        f"{', '.join(nonlinear_model.short(name) for name in panel.at_an_end())} in ({'abcd'[index]})"
        for index, panel in enumerate(panels)
        if panel.at_an_end()
    )
    note += f" Chosen at an end of the grid, so that a better rate may lie outside: {ends}." if ends else ""
    return furnish(
        result, "Two-layer ReLU model on MNIST: accuracy against learning rate", note,
        [handles[name] for name in in_order(handles)],
    )  # fmt: skip


ENTRY = Entry(
    "fig_nonlinear_mnist_rates",
    title="Two-layer model on MNIST: accuracy against learning rate",
    shows="Test accuracy at every rate of the sweep, with the rates that validation chose.",
    counterpart="arXiv 2502.01755v4, Figure 2 (which shows one curve a method)",
    needs=("nonlinear_mnist",),
    make=figure,
)
