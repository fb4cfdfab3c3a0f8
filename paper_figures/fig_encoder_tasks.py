"""Convergence on every task of the encoder."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figures import converging
from paper_figures.compute import Records
from paper_figures.style import styled


@styled
def figure(records: Records) -> Figure:
    """A panel a task."""
    note = "Each method at its own learning rate, chosen on validation text."
    return converging.figure(records.encoder_tasks, "convergence by task", note)
