"""Accuracy against local steps, at equal rounds and at equal client-steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures import outcomes, swept
from paper_figures.compute import Records
from paper_figures.style import styled

AXIS = swept.Axis(
    frozenset({"training.local_steps", "federation.rounds"}),
    lambda run: run["config"]["training"]["local_steps"],
    lambda run: str(run["config"]["training"]["local_steps"]),
    "local steps a round",
)
BUDGETS = {
    "rounds": lambda run: run["config"]["federation"]["rounds"],
    "client-steps": lambda run: outcomes.client_steps(run)[-1],
}


def applies(records: Records) -> bool:
    """Whether the number of local steps varies."""
    return bool(swept.by_budget(records.local_steps, AXIS, BUDGETS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every number of local steps."""
    note = (
        "At equal rounds more local steps are also more computing; at equal client-steps they are fewer rounds and less "
        "traffic. Each method at its own learning rate."
    )
    found = swept.by_budget(records.local_steps, AXIS, BUDGETS)
    return swept.figure(found, AXIS, "local steps", note)
