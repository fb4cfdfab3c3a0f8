"""What can be said of a share of right answers, and of two models on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from scipy.stats import binomtest


def wilson(right: int, questions: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share (Wilson 1927), which stays in [0, 1] and is not empty at 0 or 1.

    Example:
        >>> [round(bound, 4) for bound in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    interval = binomtest(right, questions).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Paired:
    """Two models on the same questions.

    ``gained``: wrong before, right after; ``lost``: right before, wrong after. ``difference`` after - before of the
    accuracies, with ``interval``, and ``p``, exact, two-sided, for "no difference".
    """

    questions: int
    before: float
    after: float
    gained: int
    lost: int
    difference: float
    interval: tuple[float, float]
    p: float

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self) | {"interval": list(self.interval)}


def paired(before: Sequence[bool], after: Sequence[bool]) -> Paired:
    """Compare two models question by question.

    p is McNemar's exact test (McNemar 1947): given gained + lost, gained is binomial with 1/2. The interval is Bonett and
    Price's (2012, adjusted Wald): with p' = (gained + 1) / (n + 2) and q' = (lost + 1) / (n + 2),
    p' - q' +- 1.96 sqrt((p' + q' - (p' - q')^2) / (n + 2)).

    Example:
        >>> found = paired([True, False, False, False], [True, True, True, False])
        >>> found.gained, found.lost, found.difference, found.p
        (2, 0, 0.5, 0.5)
    """
    questions = len(before)
    gained = sum(not first and second for first, second in zip(before, after, strict=True))
    lost = sum(first and not second for first, second in zip(before, after, strict=True))
    up, down = (gained + 1) / (questions + 2), (lost + 1) / (questions + 2)
    half = 1.959963984540054 * math.sqrt((up + down - (up - down) ** 2) / (questions + 2))
    return Paired(
        questions=questions,
        before=sum(before) / questions,
        after=sum(after) / questions,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / questions,
        interval=(max(-1.0, up - down - half), min(1.0, up - down + half)),
        p=float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0,
    )


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The unbiased estimate of the chance that one of k samples is right: 1 - C(n - c, k) / C(n, k).

    Source: Chen et al. 2021 (arXiv 2107.03374v2), Eq. 1. With k = 1 it is the share of right samples.

    Args:
        samples: n, drawn of one problem.
        right: c, of them.
        k: at most n.

    Example:
        >>> pass_at_k(4, 1, 2)
        0.5
    """
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)
