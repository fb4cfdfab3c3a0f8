"""Accuracy against the number of adapted matrices."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records


def _matrices(run: Run) -> int:
    return len(run["model"]["adapted_layers"])


AXIS = swept_setting.Axis(
    frozenset({"lora.layers", "lora.target_modules"}),
    _matrices,
    lambda run: str(_matrices(run)),
    "adapted matrices",
)


def applies(records: Records) -> bool:
    """Whether the adapted layers vary."""
    return bool(swept_setting.panels(records.layer_budgets, AXIS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every choice of layers, upper layers first."""
    note = "Matrices of the upper layers are adapted first. Each method at its own learning rate."
    return swept_setting.figure(
        swept_setting.panels(records.layer_budgets, AXIS), AXIS, "how many parameters are fine-tuned", note
    )
