"""Which round of a run counts: the last, the best on validation text, or, as the papers do it, the best on the test text.

What is measured is a flat table of numbers, the task's primary metric first. Higher is better, except of a loss. Of equal
rounds the earliest counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LOWER_IS_BETTER = frozenset({"loss"})
"""Metrics of which a smaller value is the better one."""

TEST_EVALUATION = "evaluation_test"
"""The entry of a round that holds its test metrics, where the test text is looked at in every round."""


def primary(evaluation: Mapping[str, Any]) -> str:
    """The name of the metric that decides: the first of a measurement.

    Example:
        >>> primary({"accuracy": 0.5, "loss": 0.7, "examples": 40})
        'accuracy'
    """
    return next(iter(evaluation))


def goodness(metric: str, value: float) -> float:
    """A number that is larger for the better value of two; the smallest one for a value that is none.

    Example:
        >>> goodness("loss", 0.2) > goodness("loss", 0.3), goodness("f1", 0.2) > goodness("f1", 0.3)
        (True, False)
    """
    if math.isnan(value):
        return -math.inf
    return -value if metric in LOWER_IS_BETTER else value


def best_round(history: Sequence[Mapping[str, Any]], kind: str = "evaluation") -> int | None:
    """The index of the best of the measured rounds, the earliest of equal ones; None if none was measured.

    Args:
        history: the rounds of a record.
        kind: which of their measurements is compared.

    Example:
        >>> rounds = [{"evaluation": None}, {"evaluation": {"f1": 0.5}}, {"evaluation": {"f1": 0.5}}]
        >>> best_round(rounds)
        1
    """
    measured = [index for index, entry in enumerate(history) if entry.get(kind)]
    if not measured:
        return None
    metric = primary(history[measured[0]][kind])
    return max(measured, key=lambda index: goodness(metric, history[index][kind][metric]))


def best_value(history: Sequence[Mapping[str, Any]], kind: str = "evaluation") -> float:
    """The primary metric of the best measured round."""
    found = history[best_round(history, kind)][kind]
    return found[primary(found)]


def describe(select: str, history: Sequence[Mapping[str, Any]], final: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the round that was chosen, beside its last round's case, where it says nothing.

    Args:
        select: ``evaluation.select``.
        history: the rounds, measured on validation text, and on test text too with "test".
        final: the test metrics of the round that validation chose.

    Returns:
        ``selected_round`` (numbered as the rounds are, from 0) and how it was chosen; with "test" also the number of the
        papers' protocol, which has seen the test text before it chose, under a name that says so.
    """
    if select == "last":
        return {}
    chosen = best_round(history)
    found = {
        "selected_round": history[chosen]["round"],
        "selection": {
            "by": "validation",
            "metric": primary(final),
            "validation": history[chosen]["evaluation"],
            "test_evaluations": sum(bool(entry.get(TEST_EVALUATION)) for entry in history) or 1,
        },
    }
    if select == "test":
        optimistic = best_round(history, TEST_EVALUATION)
        found["final_papers_protocol"] = history[optimistic][TEST_EVALUATION]
        found["selection_papers_protocol"] = {
            "by": "test",
            "metric": primary(final),
            "selected_round": history[optimistic]["round"],
            "note": "the best round on the test text itself: optimistic, not an estimate of accuracy on new text",
        }
    return found
