"""What the papers print for 3, 20 and 50 clients, how far each number can be trusted, and what was run here."""

from __future__ import annotations

from typing import Any

from paper_figures.compute import Records
from paper_figures.finetuning import Group, accuracy_text, groups
from paper_figures.style import method_style
from paper_figures.table import Table
from theory.printed import load

TABLES = ("P1-1-r4", "P1-1-r8", "P2-2")
"""The printed tables that vary the number of clients; the file holds others, which the audits use."""
COLUMNS = (
    "table",
    "clients",
    "method",
    "what is averaged",
    "printed, %",
    "trust",
    "at the paper's scale",
    "at our scale",
)


def table(records: Records) -> Table:
    """One row a printed number; the fine-tuning records fill the last column where they have the same clients and rank."""
    printed = load()
    isolated = [
        group
        for group in groups(records.finetuning)
        if group.client_state == "isolated" and group.partition == "IID" and not group.variant
    ]
    rows = tuple(
        (
            printed["tables"][entry["table"]]["title"],
            str(entry["clients"]),
            method_style(entry["method"]).label,
            entry["metric"],
            entry["value"],
            printed["trust"][entry["trust"]],
            f"not run: needs {printed['tables'][entry['table']]['needs']}",
            _ours(isolated, entry, printed["tables"][entry["table"]]["rank"]),
        )
        for entry in printed["numbers"]
        if entry["table"] in TABLES
    )
    notes = (printed["note"], _our_scale(isolated))
    return Table(
        "Printed by the papers, and what was run here", COLUMNS, rows, notes, frozenset({"clients", "printed, %"})
    )


def _ours(isolated: list[Group], entry: dict[str, Any], rank: int) -> str:
    for group in isolated:
        same = group.num_clients == entry["clients"] and group.any_run["config"]["lora"]["rank"] == rank
        if same and entry["method"] in group.runs:
            runs = group.runs[entry["method"]]
            return f"{accuracy_text(runs)} ({len(runs)} seed{'s' if len(runs) > 1 else ''})"
    return f"not run: needs {method_style(entry['method']).label} records with {entry['clients']} clients, rank {rank}"


def _our_scale(isolated: list[Group]) -> str:
    if not isolated:
        return "No fine-tuning records: the last column is empty."
    run = isolated[0].any_run
    return (
        f"Our scale: {run['model']['name']} with {run['model']['parameters'] / 1e6:.1f} M parameters on "
        f"{run['data']['name']}, test accuracy from 0 to 1. Another model on another task: it can agree with the "
        "papers in the order of methods, never in a number."
    )
