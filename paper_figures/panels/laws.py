"""Tables of conformance: one row an aggregator, one column a law."""

from __future__ import annotations

from typing import Any

from paper_figures.drawing.style import in_order, method_style
from paper_figures.drawing.table import Table
from paper_figures.records.sources import Records

MARKS = {"pass": "✓", "fail": "FAILS", "exception": "exception", "not applicable": "–"}


def methods(records: Records) -> Table:
    """Return every method against every law of aggregation and of engines, the reasons below."""
    return tabulate(records["conformance"], "Methods and laws")


def foreign(records: Records) -> Table:
    """Return the aggregators of other packages against every law."""
    return tabulate(
        records["conformance_foreign"],
        "Other packages and laws",
        "Of a package its aggregation alone is examined: whether it looks at updates elsewhere is not said here.",
    )


def tabulate(entries: list[dict[str, Any]], title: str, *notes: str) -> Table:
    """The findings as a table."""
    found = {(entry["subject"], entry["law"]): entry for entry in entries}
    laws = sorted({law for _, law in found})
    asks = {entry["law"]: entry["asks"] for entry in entries}
    names = in_order({name for name, _ in found})
    reasons = []
    for name in names:
        by_words: dict[str, list[str]] = {}
        for law in laws:
            by_words.setdefault(found[name, law]["words"], []).append(str(law))
        said = [f"{', '.join(numbers)}: {words}" for words, numbers in by_words.items() if words]
        reasons += [f"{method_style(name).label}, {'; '.join(said)}."] if said else []
    return Table(
        title=title,
        columns=("aggregator" if title.startswith("Other") else "method", *(str(law) for law in laws)),
        rows=tuple((method_style(name).label, *(_mark(found[name, law]) for law in laws)) for name in names),
        notes=(
            "; ".join(f"{law}: {asks[law]}" for law in laws) + ".",
            "Laws 1 to 6 on effective weights through PEFT's forward pass. ✓: holds; for laws 3 and 4 of methods that are "
            "not exact, they miss the mean update by what stands below and by nothing else. Exception: does not hold by the "
            "method's definition.",
            *notes,
            *reasons,
        ),
    )


def _mark(entry: dict[str, object]) -> str:
    if entry["verdict"] == "pass" and str(entry["words"]).startswith("misses"):
        return "✓ as declared"
    return MARKS[str(entry["verdict"])]
