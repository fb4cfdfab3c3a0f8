"""The papers' tables of accuracies, each with what was run here below every printed line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paper_figures.analysis import runs
from paper_figures.analysis.paper_scale import SCALES
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from paper_figures.panels.paper_comparison import Line, build, by_task, fits
from paper_figures.records.sources import Records
from theory.printed_numbers import RANKS, Number, Row, load, rows

CLIENTS = ("P1-1-r4", "P1-1-r8", "P2-2")
"""The printed tables that vary the number of clients; the file holds others, which the audits use."""

CELLS = {"P1-1-r4": "P1-1-r4-cells"}
"""Table of averages -> table of its single cells."""


def _lines(
    table: str, setting: Callable[[Row], tuple[str, ...]], wanted: Callable[[Row], dict[str, Any]]
) -> list[Line]:
    """One line for each method and setting of a printed table, whose cells may stand in several rows of the file."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows():
        if row.table == table:
            found.setdefault((*setting(row), row.method), []).append(row)
    return [
        Line(setting(several[0]), several[0].method, by_task(several), fits(several[0].method, **wanted(several[0])))
        for several in found.values()
    ]


def clients(records: Records, names: tuple[str, ...] = CLIENTS) -> Table:
    """Two rows a printed line: the paper's, and ours with the same clients and rank.

    Args:
        records: of which any run may fit.
        names: of the printed tables.
    """
    tables = load()["tables"]
    lines = []
    for name in names:
        keys = dict.fromkeys((row.clients, row.method) for row in rows() if row.table == name)
        for number, method in keys:
            found = [
                row
                for row in rows()
                if row.table in (name, CELLS.get(name)) and (row.clients, row.method) == (number, method)
            ]
            rank = tables[name]["rank"]
            lines.append(
                Line(
                    (tables[name]["title"], str(number)),
                    method,
                    by_task(found),
                    fits(method, clients=number, rank=rank, partition="IID"),
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


def second_clients(records: Records) -> Table:
    """The lines of arXiv 2409.02346, Table 2, alone."""
    return clients(records, CLIENTS[2:])


def first_clients(records: Records) -> Table:
    """The lines of arXiv 2502.01755v4, Table 1, alone."""
    return clients(records, CLIENTS[:2])


def _dirichlet(row: Row) -> str:
    return f"Dirichlet({float(row.setting['dirichlet']):g})"


def label_skew(records: Records) -> Table:
    """arXiv 2502.01755v4, Table 2."""
    return build(
        load()["tables"]["P1-2"]["title"],
        ("partition", "clients"),
        _lines(
            "P1-2",
            lambda row: (_dirichlet(row), str(row.clients)),
            lambda row: {"partition": _dirichlet(row)},
        ),
        runs.everything(records),
        SCALES["P1-2"],
        ("Ours: any number of clients and any rank with the same partition; the scale says the rounds.",),
    )


def local_steps(records: Records) -> Table:
    """arXiv 2502.01755v4, Table 4."""
    return build(
        load()["tables"]["P1-4"]["title"],
        ("local steps", "clients"),
        _lines(
            "P1-4",
            lambda row: (str(row.setting["local_steps"]), str(row.clients)),
            lambda row: {"local_steps": row.setting["local_steps"], "partition": "IID"},
        ),
        runs.everything(records),
        SCALES["P1-4"],
        ("Ours: any number of clients and any rank with as many local steps.",),
    )


def ranks(records: Records) -> Table:
    """arXiv 2409.02346, Table 1."""
    lines = [
        line
        for rank in RANKS
        for line in _lines(
            f"P2-1-r{rank}",
            lambda row, rank=rank: (str(rank),),
            lambda row, rank=rank: {"rank": rank, "partition": "IID", "clients": 3},
        )
    ]
    return build(
        "arXiv 2409.02346, Table 1: ranks, 3 clients", ("rank",), lines, runs.everything(records), SCALES["P2-1"]
    )


def _equal_messages(key: str, title: str, records: Records, model: str = "") -> Table:
    lines = [
        line
        for rank in (4, 2)
        for line in _lines(
            f"{key}-r{rank}",
            lambda row, rank=rank: (str(rank),),
            lambda row, rank=rank: {
                "rank": rank // 2 if row.method == "fedavg-lora" else rank,
                "partition": "IID",
                "model": model,
            },
        )
    ]
    note = (
        "Ours: FedAvg-LoRA, which sends two factors, at half the rank that is named, so that all messages have one size; the "
        "paper's own pairing was not found."
    )
    return build(title, ("rank",), lines, runs.everything(records), SCALES[key], (note,))


def message_size(records: Records) -> Table:
    """arXiv 2409.02346, Table 3."""
    return _equal_messages("P2-3", "arXiv 2409.02346, Table 3: equal message size", records)


def deberta(records: Records) -> Table:
    """arXiv 2409.02346, Table 7: its question is the model, so nothing but that model's own records stands beside it."""
    title = "arXiv 2409.02346, Table 7: DeBERTa-XLarge, equal message size"
    return _equal_messages("P2-7", title, records, "deberta")


def quantised(records: Records) -> Table:
    """arXiv 2409.02346, Table 8."""
    names = {"full": "none", "8 bit": "8bit", "4 bit": "4bit"}
    found: dict[tuple[str, str], dict[str, Number]] = {}
    for row in rows():
        if row.table == "P2-8" and "backbone" in row.setting:
            for backbone, cell in row.cells.items():
                found.setdefault((backbone, row.method), {})[row.setting["metric"]] = cell
    lines = [
        Line((backbone,), method, cells, fits(method, rank=2, quantization=names[backbone], partition="IID"))
        for (backbone, method), cells in sorted(found.items(), key=lambda pair: list(names).index(pair[0][0]))
    ]
    title = "arXiv 2409.02346, Table 8: quantised backbone, rank 2"
    drops = ", ".join(
        f"{method_style(row.method).label} {cell.text} [{cell.trust}]"
        for row in rows()
        for cell in row.cells.values()
        if row.table == "P2-8" and "backbone" not in row.setting
    )
    note = f"Printed mean relative drop, %: {drops}."
    return build(title, ("backbone",), lines, runs.everything(records), SCALES["P2-8"], (note,))
