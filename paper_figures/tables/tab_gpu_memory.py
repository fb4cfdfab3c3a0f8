"""Memory of whole runs on one GPU against what the plan said."""

from __future__ import annotations

from typing import Any

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

COLUMNS = ("run", "parameters", "planned GB", "measured GB", "measured / planned", "within 15 %")
BOUND = 0.15


def table(records: Records) -> Table:
    """One row a run; one that failed says what it said."""
    record = records["gpu_memory"]
    environment = record["environment"]
    failed = [f"{name}: {found['not_measured']}" for name, found in record["cases"].items() if "not_measured" in found]
    commit = (record["code"]["commit"] or "unknown")[:7]
    return Table(
        title="Memory on one GPU against the plan",
        columns=COLUMNS,
        rows=tuple(_row(name, found) for name, found in record["cases"].items() if "not_measured" not in found),
        notes=(
            f"{environment['device']}, torch {environment['packages']['torch']}, commit {commit}; random weights, bfloat16, one "
            "round of FedAvg-LoRA with rank 8 of four clients, texts that fill model.max_length. Measured: the peak of what "
            "torch had allocated in the run's process, evaluation included.",
            *((f"Not measured: {'; '.join(failed)}.",) if failed else ()),
        ),
        numeric=frozenset(COLUMNS[1:5]),
    )


def _within(found: dict[str, Any]) -> str:
    return "yes" if abs(found["measured_over_planned"] - 1) <= BOUND else "no"


def _row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        f"{found['parameters'] / 1e6:,.0f} M",
        f"{found['planned']['in all'] / 1e9:.2f}",
        f"{found['measured'] / 1e9:.2f}",
        f"{found['measured_over_planned']:.3f}",
        _within(found),
    )


ENTRY = Entry(
    "tab_gpu_memory",
    title="Memory on one GPU against the plan",
    shows="Whether a run takes the memory that rolora plan says.",
    counterpart="none",
    needs=("gpu_memory",),
    make=table,
)
