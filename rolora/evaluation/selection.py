"""Selection of a run's round: the last, the best on validation data, or, as in the papers, the best on test data.

An evaluation is a flat table of numbers, the task's primary metric first. Higher is better, except of a loss. Of equal rounds
the earliest is selected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LOWER_IS_BETTER = frozenset({"loss"})
"""Metrics of which a smaller value is better."""

TEST_EVALUATION = "evaluation_test"
"""Key of a round's test metrics, present where test data is evaluated in every round."""


def primary(evaluation: Mapping[str, Any]) -> str:
    """Return the name of the primary metric, the first of an evaluation.

    Example:
        >>> primary({"accuracy": 0.5, "loss": 0.7, "examples": 40})
        'accuracy'
    """
    return next(iter(evaluation))


def goodness(metric: str, value: float) -> float:
    """Return a number that is larger for the better value of two, and smallest for NaN.

    Example:
        >>> goodness("loss", 0.2) > goodness("loss", 0.3), goodness("f1", 0.2) > goodness("f1", 0.3)
        (True, False)
    """
    if math.isnan(value):
        return -math.inf
    return -value if metric in LOWER_IS_BETTER else value


def best_round(history: Sequence[Mapping[str, Any]], kind: str = "evaluation") -> int | None:
    """Return the index of the best evaluated round, the earliest of equal ones; None if there is none.

    Args:
        history: the rounds of a record.
        kind: key of the evaluation that is compared.

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


def describe(select: str, history: Sequence[Mapping[str, Any]], final: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a record about the selected round; none for the last round.

    Args:
        select: ``evaluation.select``.
        history: the rounds, evaluated on validation data, and with "test" on test data too.
        final: the test metrics of the round that validation selected.

    Returns:
        ``selected_round`` (numbered from 0) and the selection; with "test" also the result of selection on test data, under a
        name of its own.
    """
    if select == "last":
        return {}
    chosen = best_round(history)
    entries = {
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
        entries["final_papers_protocol"] = history[optimistic][TEST_EVALUATION]
        entries["selection_papers_protocol"] = {
            "by": "test",
            "metric": primary(final),
            "selected_round": history[optimistic]["round"],
            "note": "the best round on the test text itself: optimistic, not an estimate of accuracy on new text",
        }
    return entries
