"""What the papers print for 3, 20 and 50 clients, how far each number can be trusted, and what was run here."""

from __future__ import annotations

from paper_figures.analysis import runs
from paper_figures.analysis.paper_scale import SCALES
from paper_figures.drawing.table import Table
from paper_figures.panels.paper_comparison import Line, build, by_task, fits
from paper_figures.records.sources import Records
from theory.printed_numbers import load, rows

TABLES = ("P1-1-r4", "P1-1-r8", "P2-2")
"""The printed tables that vary the number of clients; the file holds others, which the audits use."""

CELLS = {"P1-1-r4": "P1-1-r4-cells"}
"""Where single cells of a table of averages are."""


def table(records: Records, names: tuple[str, ...] = TABLES) -> Table:
    """Two rows a printed line: the paper's, and ours with the same clients and rank.

    Args:
        records: of which any run may fit.
        names: of the printed tables.
    """
    tables = load()["tables"]
    lines = []
    for name in names:
        keys = dict.fromkeys((row.clients, row.method) for row in rows() if row.table == name)
        for clients, method in keys:
            found = [
                row
                for row in rows()
                if row.table in (name, CELLS.get(name)) and (row.clients, row.method) == (clients, method)
            ]
            rank = tables[name]["rank"]
            lines.append(
                Line(
                    (tables[name]["title"], str(clients)),
                    method,
                    by_task(found),
                    fits(method, clients=clients, rank=rank, partition="IID"),
                )
            )
    return build(
        "Printed by the papers for 3, 20 and 50 clients, and what was run here",
        ("table", "clients"),
        lines,
        runs.everything(records),
        SCALES["P1-1"],
        (load()["note"],),
    )


def second(records: Records) -> Table:
    """The lines of arXiv 2409.02346, Table 2, alone."""
    return table(records, TABLES[2:])


def first(records: Records) -> Table:
    """The lines of arXiv 2502.01755v4, Table 1, alone."""
    return table(records, TABLES[:2])
