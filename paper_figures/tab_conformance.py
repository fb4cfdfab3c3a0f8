"""Every method against every law of aggregation and of engines."""

from __future__ import annotations

from paper_figures.compute import Records
from paper_figures.style import in_order, method_style
from paper_figures.table import Table

MARKS = {"pass": "✓", "fail": "FAILS", "exception": "exception", "not applicable": "–"}


def table(records: Records) -> Table:
    """One row a method, one column a law; the reasons below."""
    found = {(entry["subject"], entry["law"]): entry for entry in records.conformance}
    laws = sorted({law for _, law in found})
    asks = {entry["law"]: entry["asks"] for entry in records.conformance}
    names = in_order({name for name, _ in found})
    reasons = [
        f"{method_style(name).label}, law {law}: {found[name, law]['words']}."
        for name in names
        for law in laws
        if found[name, law]["words"]
    ]
    return Table(
        title="Methods and laws",
        columns=("method", *(str(law) for law in laws)),
        rows=tuple((method_style(name).label, *(_mark(found[name, law]) for law in laws)) for name in names),
        notes=(
            "; ".join(f"{law}: {asks[law]}" for law in laws) + ".",
            "Laws 1 to 6 on effective weights through PEFT's forward pass. ✓: holds; for laws 3 and 4 of methods that are "
            "not exact, they miss the mean update by what stands below and by nothing else. Exception: does not hold by the "
            "method's definition.",
            *reasons,
        ),
    )


def _mark(entry: dict[str, object]) -> str:
    if entry["verdict"] == "pass" and str(entry["words"]).startswith("misses"):
        return "✓ as declared"
    return MARKS[str(entry["verdict"])]
