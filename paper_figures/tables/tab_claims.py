"""Every claim that was checked, with what was measured beside what is predicted."""

from __future__ import annotations

from collections import Counter

from paper_figures.analysis.entry import Entry
from paper_figures.drawing.table import Table, number
from paper_figures.records.sources import Records

COLUMNS = (
    "claim",
    "statement",
    "source",
    "kind",
    "direction",
    "convention",
    "measured",
    "predicted",
    "verdict",
    "control",
    "instances",
)


def table(records: Records) -> Table:
    """One row a claim, in alphabetical order."""
    rows = tuple(
        (
            claim["id"],
            claim["statement"],
            claim["source"],
            claim["kind"],
            claim.get("direction") or "–",
            claim.get("convention") or "–",
            number(claim["measured"], 4),
            number(claim["predicted"], 4),
            claim["verdict"] + surprise(claim),
            claim["control_verdict"],
            f"{claim['instances']:,}",
        )
        for claim in records["claims"]
    )
    return Table(
        title="Claims checked",
        columns=COLUMNS,
        rows=rows,
        notes=(summary(records), CONTROL),
        numeric=frozenset({"measured", "predicted", "instances"}),
        marks=tuple(claim["verdict"] for claim in records["claims"]),
    )


CONTROL = (
    "The control is the same check where the claim must be false; it has to be refuted, or the check proves nothing. "
    "Measured and predicted are taken at the worst instance."
)


def surprise(claim: dict[str, object]) -> str:
    """Return a remark on a verdict that is not the expected one, or whose control failed."""
    words = []
    if claim.get("expected") and claim["verdict"] != claim["expected"]:
        words.append(f"expected: {claim['expected']}")
    if claim["control_verdict"] != "refuted":
        words.append("control not refuted")
    return f" ({'; '.join(words)})" if words else ""


def summary(records: Records) -> str:
    """Return the number of claims by verdict, in a sentence."""
    counts = Counter(claim["verdict"] for claim in records["claims"])
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    sound = sum(claim["control_verdict"] == "refuted" for claim in records["claims"])
    return f"{len(records['claims'])} claims: {verdicts}. Controls refuted: {sound} of {len(records['claims'])}."


ENTRY = Entry(
    "tab_claims",
    title="Claims checked",
    shows="Every statement of the theory that is checked here: measured beside predicted, the verdict, and the control.",
    counterpart="arXiv 2502.01755v4, sections 3 and 4",
    needs=("claims",),
    make=table,
)
