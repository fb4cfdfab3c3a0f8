"""Federated fine-tuning: final accuracy by number of clients and method, with what each run cost."""

from __future__ import annotations

from typing import Any

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.groups import Group, describe, final_accuracy, groups, traffic
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

COLUMNS = (
    "clients", "method", "learning rate", "rounds", "steps of one model", "total local steps", "seeds", "test accuracy",
    "MB sent", "minutes",
)  # fmt: skip


def table(records: Records) -> Table:
    """One row a group and method."""
    found = groups(records["finetuning"])
    rows = tuple(_row(group, name, runs) for group in found for name, runs in group.runs.items())
    first = found[0].any_run
    return Table(
        title=f"Federated fine-tuning of {first['model']['name']}",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"{describe(first)}. Majority-class baseline on the test set: {first['data']['majority_rate']:.3f}.",
            "Test accuracy of the aggregated model after the last round; mean of the seeds and half the width of "
            "Student's 95 % interval where there is more than one seed. Steps of one model: rounds times local steps. "
            "Total local steps: the same times the clients that take part.",
        ),
        numeric=frozenset(COLUMNS) - {"clients", "method"},
    )


def _row(group: Group, name: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    config = runs[0]["config"]
    steps = config["training"]["local_steps"]
    client_rounds = sum(len(entry["clients"]) for entry in runs[0]["rounds"])
    return (
        group.title,
        method_style(name).label,
        ", ".join(sorted({f"{run['config']['training']['learning_rate']:g}" for run in runs})),
        str(group.rounds),
        f"{group.rounds * steps:,}",
        f"{client_rounds * steps:,}",
        str(len(runs)),
        final_accuracy(runs).text(),
        f"{sum(traffic(entry) for entry in runs[0]['rounds']) / 1e6:.1f}",
        f"{sum(run['seconds'] for run in runs) / len(runs) / 60:.1f}" if all("seconds" in run for run in runs) else "–",
    )


ENTRY = Entry(
    "tab_finetuning",
    title="Federated fine-tuning: final accuracy",
    shows="Final accuracy by clients and method, with rounds, steps, traffic and time.",
    counterpart="arXiv 2502.01755v4, Table 1",
    needs=("finetuning",),
    make=table,
)
