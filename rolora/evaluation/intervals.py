"""A mean over seeds and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean of ``n`` values and half the width of its interval; None where one value says nothing of the spread."""

    mean: float
    half_width: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    def text(self, digits: int = 3, sign: bool = False) -> str:
        """As a table shows it.

        Example:
            >>> Mean(0.75, 0.02, 3).text(), Mean(0.75, None, 1).text(sign=True)
            ('0.750 ± 0.020', '+0.750')
        """
        mean = f"{self.mean:{'+' if sign else ''}.{digits}f}"
        return mean if self.half_width is None else f"{mean} ± {self.half_width:.{digits}f}"


def student(values: Sequence[float], confidence: float = CONFIDENCE) -> Mean:
    r"""The mean with Student's interval, :math:`\bar x \pm t_{n-1} s / \sqrt n`.

    Args:
        values: at least one, independent and about normal.
        confidence: of the two-sided interval.

    Returns:
        The mean, and half the width where there are two values or more.

    Example:
        >>> student([1.0, 2.0, 3.0]).text()
        '2.000 ± 2.484'

    Source: Student, Biometrika 6 (1908) 1-25.
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n == 1:
        return Mean(float(array[0]), None, 1)
    quantile = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    return Mean(float(array.mean()), quantile * float(array.std(ddof=1)) / math.sqrt(n), n)
