"""The verdicts as a page shows them: one view a claim, and the values that its filters offer."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from paper_figures.analysis import trust
from paper_figures.drawing.table import number
from paper_figures.tables.tab_claims import surprise

ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")

STATED, DERIVED = "stated or read out of a paper", "derived here"
"""Origins of a statement."""


@dataclass(frozen=True)
class ClaimView:
    """One claim.

    Args:
        claim: the record, every number as it stands there.
        papers: the arXiv numbers that its source names.
        origin: :data:`STATED` or :data:`DERIVED`.
        trust: the tags that its source says in words.
        measured: rounded.
        predicted: rounded.
        surprise: what is not as expected, or "".
        details: name -> what the record says of it, for those that it says.
    """

    claim: dict[str, Any]
    papers: tuple[str, ...]
    origin: str
    trust: tuple[str, ...]
    measured: str
    predicted: str
    surprise: str
    details: dict[str, str]


def views(claims: list[dict[str, Any]]) -> list[ClaimView]:
    """One view a claim, in the order of the record."""
    return [_view(claim) for claim in claims]


def _view(claim: dict[str, Any]) -> ClaimView:
    source = claim["source"]
    return ClaimView(
        claim=claim,
        papers=tuple(dict.fromkeys(ARXIV.findall(source))),
        origin=DERIVED if source.lower().startswith("derived here") else STATED,
        trust=trust.named([source]),
        measured=number(claim["measured"], 4),
        predicted=number(claim["predicted"], 4),
        surprise=surprise(claim).strip(" ()"),
        details=_details(claim),
    )


def _details(claim: dict[str, Any]) -> dict[str, str]:
    relation = {"tight": "equal", "upper": "at most the predicted", "lower": "at least the predicted"}
    direction = claim.get("direction")
    said = {
        "source": claim["source"],
        "measured": _exactly(claim["measured"]),
        "predicted": _exactly(claim["predicted"]),
        "measured should be": relation.get(direction, direction),
        "worst instance": claim.get("where"),
        "instances": f"{claim['instances']:,}",
        "convention": claim.get("convention"),
        "verdict expected": claim.get("expected"),
        "control": f"{claim['control_verdict']} (the same check where the claim must be false)",
        "contrast": claim.get("contrast_verdict"),
        "error": claim.get("error"),
        "seed": None if claim.get("seed") is None else str(claim["seed"]),
        "time": None if claim.get("seconds") is None else f"{claim['seconds']:g} s",
    }
    return {name: text for name, text in said.items() if text}


def _exactly(value: float | None) -> str:
    return "–" if value is None else repr(value)


def choices(found: list[ClaimView]) -> dict[str, dict[str, int]]:
    """Filter -> its values with the number of claims, the most frequent first."""
    counted = {
        "verdict": Counter(one.claim["verdict"] for one in found),
        "kind": Counter(one.claim["kind"] for one in found),
        "paper": Counter(f"arXiv {paper}" for one in found for paper in one.papers),
        "origin": Counter(one.origin for one in found),
    }
    return {
        name: dict(sorted(values.items(), key=lambda item: (-item[1], item[0]))) for name, values in counted.items()
    }


def tone(verdict: str) -> str:
    """Return the colour class of a verdict: good, bad or unsure.

    Example:
        >>> tone("holds with the stated correction"), tone("refuted"), tone("not run")
        ('good', 'bad', 'unsure')
    """
    return "good" if verdict.startswith("holds") else "bad" if verdict == "refuted" else "unsure"
