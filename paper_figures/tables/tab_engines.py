"""The training engines against a plain PEFT loop and Flower's simulation."""

from __future__ import annotations

from typing import Any

from paper_figures.analysis.engines import JOBS, label, machine, measured, passes, size
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

COLUMNS = ("job", "engine", "ms a local step", "times the plain loop", "least to largest", "difference")


def table(records: Records) -> Table:
    """One row a contestant and job."""
    record = records["engines"]
    jobs = {name: found for name, found in record["jobs"].items() if name in JOBS}
    missing = [
        f"{label(contestant)} ({JOBS[name]})"
        for name, found in jobs.items()
        for contestant, entry in sorted(found["contestants"].items())
        if "not_measured" in entry
    ]
    filled = {
        entry["prefix_seconds"]
        for found in jobs.values()
        for entry in measured(found).values()
        if "prefix_seconds" in entry
    }
    once = (
        (f"Filling the prefix cache takes {max(filled):.1f} s, once for all rounds, and is not in these times.",)
        if filled
        else ()
    )
    left_out = (f"Not measured: {'; '.join(missing)}.",) if missing else ()
    return Table(
        title="The training engines: speed",
        columns=COLUMNS,
        rows=tuple(
            _row(JOBS[name], contestant, entry, found["client_steps"])
            for name, found in jobs.items()
            for contestant, entry in measured(found).items()
        ),
        notes=(
            f"{size(next(iter(jobs.values())))}; {machine(record)}. All contestants in turns in one run, the median of "
            f"{passes(next(iter(jobs.values())))} passes each; the speed is the plain loop's time over the contestant's, with "
            "the least and the largest ratio of neighbouring passes. The plain loop and Flower train in float32 on all cores.",
            "Difference: of the final adapter and head from the plain loop's, as a part of how far the plain loop's have moved.",
            *once,
            *left_out,
        ),
        numeric=frozenset(COLUMNS[2:]),
    )


def _row(job: str, name: str, entry: dict[str, Any], steps: int) -> tuple[str, ...]:
    speed, apart = entry["speed"], entry["difference_of_movement"]
    return (
        job,
        label(name),
        f"{1e3 * entry['median'] / steps:.1f}",
        f"{speed['of_medians']:.2f}" if name != "plain" else "1",
        f"{speed['least']:.2f} to {speed['largest']:.2f}" if name != "plain" else "–",
        f"{apart:.1e}" if name != "plain" else "–",
    )


ENTRY = Entry(
    "tab_engines",
    title="The training engines: speed",
    shows="Milliseconds a local step against a plain PEFT loop and Flower's simulation, and the difference of the results.",
    counterpart="none",
    needs=("engines",),
    make=table,
)
