"""A task whose columns, labels and metrics are known by name."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION = ("validation", "valid", "dev", "val")
"""Usual name of a validation split."""


@dataclass(frozen=True)
class Form:
    """Under which names a file has texts and label."""

    text_columns: tuple[str, ...]
    label_column: str = "label"

    @property
    def columns(self) -> tuple[str, ...]:
        """Texts, then label."""
        return (*self.text_columns, self.label_column)


@dataclass(frozen=True)
class KnownTask:
    """A task whose columns, labels and metrics are known.

    Attributes:
        task: "classification" or "regression".
        forms: the names of its columns, in each form in which its files exist; the first is the hub's.
        label_names: in the order of their numbers; a file may have either. None for regression.
        metrics: its own, the first is the one that is selected by.
        configuration: of ``nyu-mll/glue`` on the hub; None if it is not one of GLUE's.
        held_out: what its validation split may be called, on the hub and in a folder.
        header: the columns of a tab-separated file that comes without a header.
        hidden_test: the test labels are not public: a test file without labels is left out.
        cut_rows: its published file has rows that end early; they are left out and counted.
    """

    task: str
    forms: tuple[Form, ...]
    label_names: tuple[str, ...] | None
    metrics: tuple[str, ...]
    configuration: str | None = None
    held_out: tuple[str, ...] = VALIDATION
    header: tuple[str, ...] | None = None
    hidden_test: bool = True
    cut_rows: bool = False

    @property
    def outputs(self) -> int:
        """Number of outputs of a head: one for each label, one for a number."""
        return len(self.label_names) if self.label_names else 1
