"""Convergence on every task of the encoder."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures.drawing.style import styled
from paper_figures.panels import convergence
from paper_figures.records.sources import Records


@styled
def figure(records: Records) -> Figure:
    """A panel a task."""
    note = "Each method at its own learning rate, chosen on validation text."
    return convergence.figure(records.encoder_tasks, "convergence by task", note)
