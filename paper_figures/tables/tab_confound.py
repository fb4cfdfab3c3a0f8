"""The confound in differences: paired over seeds, with intervals, at equal total local steps, rounds and bytes."""

from __future__ import annotations

from paper_figures.analysis.confound import COMPARISONS, VARIES, cells, clients_of, compared, difference, edges
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.table import Table
from paper_figures.panels import swept_setting
from paper_figures.records.sources import Records


def table(records: Records) -> Table:
    """One row a comparison, setting by setting; one column a number of clients."""
    settings = cells(records["confound"])
    numbers = sorted({number for group in settings.values() for number in clients_of(group)})
    rows = []
    for setting, group in settings.items():
        for title in COMPARISONS:
            entries = [compared(group, title, number) for number in numbers]
            rows.append((setting.title, title, *(entry.text(3, sign=True) if entry else "–" for entry in entries)))
        half = [
            difference(
                group.get((number, "isolated", "rolora")), group.get((number, "isolated", "fedavg-lora")), (1.0, 0.5)
            )
            for number in numbers
        ]
        title = "RoLoRA after all rounds − FedAvg-LoRA after half of them (equal bytes), both isolated"
        rows.append((setting.title, title, *(entry.text(3, sign=True) if entry else "–" for entry in half)))
    columns = ("setting", "difference of test accuracy", *(f"{number} clients" for number in numbers))
    at_edge, of = edges(records.place("confound"))
    limits = (
        (f"In {at_edge} of {of} cells the chosen learning rate is the smallest or the largest of the grid.",)
        if of
        else ()
    )
    return Table(
        title="The confound: paired differences",
        columns=columns,
        rows=tuple(rows),
        notes=(
            f"{swept_setting.described_run(records['confound'][0], VARIES)}. Mean over seeds of the difference at equal seed, and half the "
            "width of Student's 95 % interval; learning rates chosen for every cell on validation text. Methods have equal total "
            "local steps and rounds in every column. Where the number of rounds is odd, half of it is the nearest measurement.",
            *limits,
        ),
        numeric=frozenset(columns[2:]),
    )


ENTRY = Entry(
    "tab_confound",
    title="The method, or the chain of clients: paired differences",
    shows="Differences of test accuracy at equal seed, with intervals, at equal total local steps, rounds and bytes.",
    counterpart="arXiv 2502.01755v4, Table 1",
    needs=("confound",),
    make=table,
)
