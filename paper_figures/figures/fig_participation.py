"""Accuracy against the number of clients that take part in a round, at equal rounds and at equal client-steps."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis import runs
from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records


def _place(run: Run) -> int:
    federation = run["config"]["federation"]
    return federation.get("clients_per_round") or federation["num_clients"]


AXIS = swept_setting.Axis(
    frozenset({"federation.clients_per_round", "federation.rounds"}),
    _place,
    lambda run: f"{_place(run)} of {run['config']['federation']['num_clients']}",
    "clients in a round",
)
BUDGETS = {
    "rounds": lambda run: run["config"]["federation"]["rounds"],
    "client-steps": lambda run: runs.client_steps(run)[-1],
}


def applies(records: Records) -> bool:
    """Whether participation varies."""
    return bool(swept_setting.by_budget(records.participation, AXIS, BUDGETS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every number of clients in a round."""
    note = (
        "Clients of a round are drawn at random, the same ones for all methods. Each method at its own learning rate."
    )
    found = swept_setting.by_budget(records.participation, AXIS, BUDGETS)
    return swept_setting.figure(found, AXIS, "clients that come and go", note)
