"""The two-layer model on handwritten digits: test accuracy against rounds (counterpart of Figure 2 of the paper)."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis import nonlinear_model
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import count_note, furnish, grid, in_order, letter, plot_seeds, styled
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """One panel a partition, each method at the learning rate that validation chose, centralised LoRA beside them."""
    panels = nonlinear_model.panels(records["nonlinear"])
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    result, axes = grid(rows, columns, height=2.5 * rows)
    seeds, handles = [], {}
    reference = nonlinear_model.reference(records["nonlinear"])
    for index, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        # A reference trained at another rank would not be a reference.
        for name, runs in (
            panel.chosen | (reference if panel.rank == nonlinear_model.main_rank(panels) else {})
        ).items():
            rounds = runs[0]["rounds"]
            handles[name] = plot_seeds(ax, name, rounds, [run["test_accuracy"] for run in runs])
            seeds.append(len(runs))
        ax.set_ylim(0, 1.03)
        ax.set_ylabel("test accuracy")
        ax.set_xlabel("communication rounds")
        letter(ax, index, panel.name)
        rates = ", ".join(f"{nonlinear_model.short(name)} {panel.rate(name):g}" for name in in_order(panel.chosen))
        ax.text(
            0.98, 0.04, f"learning rates: {rates}", transform=ax.transAxes, ha="right", fontsize=7.5, color="#333333"
        )
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    note = (
        f"{nonlinear_model.described(records['nonlinear'])}; {count_note(seeds)}; "
        "learning rate of each method chosen on a validation split."
    )
    title = "Two-layer ReLU model on 8 x 8 digits: accuracy against rounds"
    return furnish(result, title, note, [handles[name] for name in in_order(handles)])


ENTRY = Entry(
    "fig_nonlinear",
    title="Two-layer model on digits: accuracy against rounds",
    shows=(
        "Test accuracy of the three methods for label-skewed clients and an IID control, each at the learning rate that "
        "a validation split chose."
    ),
    counterpart="arXiv 2502.01755v4, Figure 2",
    needs=("nonlinear",),
    make=figure,
)
