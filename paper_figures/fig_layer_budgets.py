"""Accuracy against the number of adapted matrices."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures import swept
from paper_figures.compute import Records
from paper_figures.outcomes import Run
from paper_figures.style import styled


def _matrices(run: Run) -> int:
    return len(run["model"]["adapted_layers"])


AXIS = swept.Axis(
    frozenset({"lora.layers", "lora.target_modules"}),
    _matrices,
    lambda run: str(_matrices(run)),
    "adapted matrices",
)


def applies(records: Records) -> bool:
    """Whether the adapted layers vary."""
    return bool(swept.panels(records.layer_budgets, AXIS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every choice of layers, upper layers first."""
    note = "Matrices of the upper layers are adapted first. Each method at its own learning rate."
    return swept.figure(swept.panels(records.layer_budgets, AXIS), AXIS, "how many parameters are fine-tuned", note)
