"""Accuracy against the ratio of the two factors' learning rates."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.analysis.runs import Run
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records


def _ratio(run: Run) -> float:
    training = run["config"]["training"]
    return float(f"{(training.get('learning_rate_a') or training['learning_rate']) / training['learning_rate']:.6g}")


AXIS = swept_setting.Axis(
    frozenset({"training.learning_rate_a"}),
    _ratio,
    lambda run: f"{_ratio(run):.3g}",
    "rate of A / rate of B",
    lambda run: f"B {run['config']['training']['learning_rate']:g}",
)


def applies(records: Records) -> bool:
    """Whether the ratio varies."""
    return bool(swept_setting.panels(records.rate_ratios, AXIS))


@styled
def figure(records: Records) -> Figure:
    """The final metric for every ratio, a line for each rate of B."""
    return swept_setting.figure(
        swept_setting.panels(records.rate_ratios, AXIS),
        AXIS,
        "unequal learning rates",
        "Every line has one learning rate of B, named in the legend. A ratio of 1 is one rate for both.",
    )
