"""Confidence intervals of means and shares, and paired comparisons. NumPy and SciPy alone: theory and figures use it too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanInterval:
    """A mean of ``n`` values and the half width of its confidence interval, None for a single value."""

    mean: float
    half_width: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON-ready fields."""
        return asdict(self)

    def text(self, digits: int = 3, sign: bool = False) -> str:
        """Return the text of a table cell.

        Example:
            >>> MeanInterval(0.75, 0.02, 3).text(), MeanInterval(0.75, None, 1).text(sign=True)
            ('0.750 ± 0.020', '+0.750')
        """
        mean = f"{self.mean:{'+' if sign else ''}.{digits}f}"
        return mean if self.half_width is None else f"{mean} ± {self.half_width:.{digits}f}"


def student_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    r"""Return the half width of a two-sided Student interval in standard errors, :math:`t_{\nu, (1 + c)/2}`.

    Example:
        >>> round(student_quantile(2), 3)
        4.303
    """
    return float(stats.t.ppf((1 + confidence) / 2, degrees))


def student(values: Sequence[float], confidence: float = CONFIDENCE) -> MeanInterval:
    r"""Return the mean with Student's interval, :math:`\bar x \pm t_{n-1} s / \sqrt n`.

    Args:
        values: at least one, independent and about normal.
        confidence: of the two-sided interval.

    Example:
        >>> student([1.0, 2.0, 3.0]).text()
        '2.000 ± 2.484'

    Source: Student, Biometrika 6 (1908) 1-25.
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n == 1:
        return MeanInterval(float(array[0]), None, 1)
    half = student_quantile(n - 1, confidence) * float(array.std(ddof=1)) / math.sqrt(n)
    return MeanInterval(float(array.mean()), half, n)


def wilson(right: int, questions: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's interval for a share (Wilson 1927), which stays in [0, 1] and is not empty at 0 or 1.

    Example:
        >>> [round(bound, 4) for bound in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    interval = stats.binomtest(right, questions).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class PairedComparison:
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


def paired(before: Sequence[bool], after: Sequence[bool]) -> PairedComparison:
    """Compare two models question by question.

    p is McNemar's exact test (McNemar 1947): given gained + lost, gained is binomial with 1/2. The interval is Bonett and
    Price's (2012, adjusted Wald): with p' = (gained + 1) / (n + 2) and q' = (lost + 1) / (n + 2),
    p' - q' +- 1.96 sqrt((p' + q' - (p' - q')^2) / (n + 2)).

    Example:
        >>> comparison = paired([True, False, False, False], [True, True, True, False])
        >>> comparison.gained, comparison.lost, comparison.difference, comparison.p
        (2, 0, 0.5, 0.5)
    """
    questions = len(before)
    gained = sum(not first and second for first, second in zip(before, after, strict=True))
    lost = sum(first and not second for first, second in zip(before, after, strict=True))
    up, down = (gained + 1) / (questions + 2), (lost + 1) / (questions + 2)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt((up + down - (up - down) ** 2) / (questions + 2))
    return PairedComparison(
        questions=questions,
        before=sum(before) / questions,
        after=sum(after) / questions,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / questions,
        interval=(max(-1.0, up - down - half), min(1.0, up - down + half)),
        p=float(stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0,
    )
