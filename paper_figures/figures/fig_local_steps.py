"""Accuracy against local steps, at equal rounds and at equal client-steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis import runs
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records

AXIS = swept_setting.Axis(
    frozenset({"training.local_steps", "federation.rounds"}),
    lambda run: run["config"]["training"]["local_steps"],
    lambda run: str(run["config"]["training"]["local_steps"]),
    "local steps a round",
)
BUDGETS = {
    "rounds": lambda run: run["config"]["federation"]["rounds"],
    "client-steps": lambda run: runs.client_steps(run)[-1],
}


def applies(records: Records) -> bool:
    """Whether the number of local steps varies."""
    return bool(swept_setting.by_budget(records.local_steps, AXIS, BUDGETS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every number of local steps."""
    note = (
        "At equal rounds more local steps are also more computing; at equal client-steps they are fewer rounds and less "
        "traffic. Each method at its own learning rate."
    )
    found = swept_setting.by_budget(records.local_steps, AXIS, BUDGETS)
    return swept_setting.figure(found, AXIS, "local steps", note)
