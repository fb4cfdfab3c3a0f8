"""arXiv 2409.02346, Table 6: the traffic that is printed beside the bytes of the layers that its own Table 5 names."""

from __future__ import annotations

from paper_figures.analysis.entry import Entry
from paper_figures.analysis.paper_scale import SCALES
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records
from theory.printed_numbers import load, modules, rows

FACTORS = {"fedavg-lora": 2}
"""Factors that a method sends in a round, where it is not one."""
COLUMNS = ("task", "method", "printed, KB", "modules of Table 5", "computed, KiB", "printed / computed")


def table(records: Records) -> Table:
    """One row a printed number; nothing has to be run."""
    width = int(load()["settings"]["hidden_width"]["value"])
    made = []
    for row in rows():
        for task, cell in row.cells.items() if row.table == "P2-6" else ():
            number = modules(2, task)
            computed = 4 * width * FACTORS.get(row.method, 1) * number / 1024
            name = method_style(row.method).label
            made.append((task, name, cell.text, str(number), f"{computed:.1f}", f"{cell.value / computed:.3f}"))
    notes = (
        f"Printed [V]: uplink of one client in one round, rank 1, budget 2. Computed: 4 bytes × {width:,} × modules × factors "
        "sent, from the layers of the paper's Table 5 [V] and RoBERTa-Large's width [S]: exact, so it is ours in full. With KB of "
        "1,000 bytes the computed numbers are 2.4 % larger. What the printed numbers are equal to: tab_paper_arithmetic.",
        f"Command: {SCALES['P2-6'].commands[0]}",
    )
    return Table(load()["tables"]["P2-6"]["title"], COLUMNS, tuple(made), notes, frozenset(COLUMNS[2:]))


ENTRY = Entry(
    "tab_paper_uplink",
    title="Printed: uplink, and the bytes of the layers it names",
    shows="The paper's traffic beside the bytes that its own table of layers gives.",
    counterpart="arXiv 2409.02346, Table 6",
    make=table,
)
