"""Benchmarks before and after fine-tuning, on the same questions."""

from __future__ import annotations

from paper_figures.analysis.benchmarks import Compared, compared
from paper_figures.analysis.entry import Entry
from paper_figures.drawing.style import METHODS, method_style
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

COLUMNS = (
    "benchmark", "put by", "model", "fine-tuned with", "seeds", "questions", "score", "chance", "difference", "interval over",
    "gained", "lost",
)  # fmt: skip


def table(records: Records) -> Table:
    """One row a benchmark, way and method, the base model's own row before those of what was made of it."""
    compared_models = compared(records)
    return Table(
        "Benchmarks before and after fine-tuning",
        COLUMNS,
        tuple(_row(one) for one in compared_models),
        (
            "Accuracy in per cent with a 95 % interval: over seeds (Student) where several fine-tuned models were asked, else over "
            "questions (Wilson's for a score, Bonett and Price's for a difference). A loss is in nats a token. Difference: after "
            "less before, on the same questions; gained and lost: questions that fine-tuning turned right and wrong, the mean over "
            "seeds. Chance: one in the number of options.",
            f"Models: {', '.join(_models(records))}; fine-tuning and decoding as the records of the runs and evaluations say.",
        ),
        frozenset(COLUMNS[4:]) - {"interval over"},
    )


def _models(records: Records) -> list[str]:
    found = {}
    for record in records["evaluations"]:
        base = record["model"].get("base", record["model"])
        found[base["name"]] = f"{base['name']} ({base['parameters'] / 1e6:.0f} M parameters)"
    return [found[name] for name in sorted(found)]


def _row(one: Compared) -> tuple[str, ...]:
    change, over = one.difference()
    first = one.results[0]
    return (
        f"{one.benchmark} ({one.split})",
        one.how + (f", {first['shots']}-shot" if first.get("shots") else ""),
        one.base,
        (method_style(one.method).label if one.method in METHODS else one.method) or "– (before)",
        str(len(one.seeds)) if one.method else "–",
        f"{first['questions']:,}",
        one.score(),
        "–" if first.get("chance") is None else f"{100 * first['chance']:.1f}",
        change,
        over,
        _count(one, "gained"),
        _count(one, "lost"),
    )


def _count(one: Compared, name: str) -> str:
    if not one.comparisons or name not in one.comparisons[0]:
        return "–"
    return f"{sum(pair[name] for pair in one.comparisons) / len(one.comparisons):.0f}"


ENTRY = Entry(
    "tab_benchmarks",
    title="Benchmarks before and after fine-tuning",
    shows="Commonsense sets, MMLU and GSM8K put to the packaged decoder and to what fine-tuning made of it, on the same questions.",
    counterpart="arXiv 2502.01755v4, commonsense reasoning, HumanEval and MMLU",
    needs=("evaluations",),
    make=table,
)
