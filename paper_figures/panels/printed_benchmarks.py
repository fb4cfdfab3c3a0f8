"""The tables that need Llama-2-7B: commonsense reasoning, HumanEval and MMLU, beside what a small decoder was asked here."""

from __future__ import annotations

from paper_figures.analysis.benchmarks import Compared, compared
from paper_figures.analysis.paper_scale import SCALES
from paper_figures.drawing.style import method_style
from paper_figures.drawing.table import Table
from paper_figures.panels.paper_comparison import NOT_RUN, common_notes, printed_text
from paper_figures.records.sources import Records
from theory.printed_numbers import Row, load, rows

BENCHMARKS = {
    "BoolQ": "boolq",
    "PIQA": "piqa",
    "SIQA": "socialiqa",
    "HellaSwag": "hellaswag",
    "WinoGrande": "winogrande",
    "ARC-e": "arc_easy",
    "ARC-c": "arc_challenge",
    "OBQA": "openbookqa",
    "HumanEval": "humaneval",
    "MMLU": "mmlu",
}
"""Name in print -> name in a record."""

WAYS = ("generation", "likelihood", "labels")
"""The paper reads generated answers, so that way is shown where a record has it."""


def commonsense(records: Records) -> Table:
    """arXiv 2502.01755v4, commonsense reasoning."""
    return _table("P1-commonsense", records)


def generation(records: Records) -> Table:
    """arXiv 2502.01755v4, HumanEval and MMLU."""
    return _table("P1-generation", records)


def _table(name: str, records: Records) -> Table:
    lines = [row for row in rows() if row.table == name]
    tasks = list(lines[0].cells)
    found = compared(records)
    made, marks = [], []
    for line in lines:
        label = method_style(line.method).label
        trust = next(iter(line.cells.values())).trust
        made.append(
            (label, f"paper [{trust}]", *[printed_text(line.cells[task]) for task in tasks], SCALES[name].model)
        )
        marks.append("paper")
        ours = _ours(line, tasks, found)
        made += ours or [
            (label, "ours", *[NOT_RUN] * len(tasks), f"{NOT_RUN}: needs {SCALES[name].needs}; command below")
        ]
        marks += ["ours"] * len(ours) or [NOT_RUN]
    return Table(
        load()["tables"][name]["title"],
        ("method", "whose", *tasks, "model and scale, or what it takes"),
        tuple(made),
        (
            "Ours: accuracy in per cent with a 95 % interval, ± half of it over seeds, its ends over questions where there is one seed; "
            "[g] generated answer, [l] likelihood of the options, [b] likelihood of the labels. Another, much smaller decoder, fine-tuned "
            "on the text that its run's record names: nothing of it is a test of the paper's numbers.",
            *common_notes(SCALES[name], False),
        ),
        frozenset(tasks),
        tuple(marks),
    )


def _ours(line: Row, tasks: list[str], found: list[Compared]) -> list[tuple[str, ...]]:
    made = []
    for base in sorted({one.base for one in found if one.method == line.method}):
        cells = []
        for task in tasks:
            fitting = {
                one.how: one
                for one in found
                if (one.base, one.method, one.benchmark) == (base, line.method, BENCHMARKS[task])
                and one.measure == "accuracy"
            }
            way = next((name for name in WAYS if name in fitting), None)
            cells.append(NOT_RUN if way is None else _cell(fitting[way], way))
        if any(cell != NOT_RUN for cell in cells):
            questions = sorted(
                {one.results[0]["questions"] for one in found if (one.base, one.method) == (base, line.method)}
            )
            asked = " to ".join(dict.fromkeys(f"{number:,}" for number in (questions[0], questions[-1])))
            made.append((method_style(line.method).label, f"ours: {base}", *cells, f"{base}, {asked} questions a set"))
    return made


def _cell(one: Compared, way: str) -> str:
    return f"{one.score()} [{'b' if way == 'labels' else way[0]}]"
