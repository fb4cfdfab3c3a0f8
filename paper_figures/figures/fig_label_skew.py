"""Accuracy against label skew: Dirichlet shares of labels, few labels a client, and equal shares."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records


def _place(run: Run) -> float:
    federation = run["config"]["federation"]
    if federation["partition"] == "by-label":
        return -100.0 + federation["labels_per_client"]
    return math.log10(federation["dirichlet_alpha"]) if federation["partition"] == "dirichlet" else 100.0


def _label(run: Run) -> str:
    federation = run["config"]["federation"]
    if federation["partition"] == "by-label":
        return f"{federation['labels_per_client']} label" + "s" * (federation["labels_per_client"] > 1)
    return f"{federation['dirichlet_alpha']:g}" if federation["partition"] == "dirichlet" else "IID"


AXIS = swept_setting.Axis(swept_setting.PARTITION_KEYS, _place, _label, "Dirichlet α (left: most skewed)")


def applies(records: Records) -> bool:
    """Whether the partition varies."""
    return bool(swept_setting.panels(records.label_skew, AXIS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every partition."""
    note = (
        "Labels of the clients' training text are drawn from Dirichlet(α) shares; a test text is the same for all. "
        "Each method at its own learning rate."
    )
    return swept_setting.figure(swept_setting.panels(records.label_skew, AXIS), AXIS, "what label skew costs", note)
