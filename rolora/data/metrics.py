"""Metrics of the tasks by name, from scikit-learn and SciPy.

No value is ever NaN, since a record is JSON and has none. Where a metric is undefined it has the value of a predictor that
knows nothing: 0. For Matthews' correlation that is scikit-learn's own convention, and Pearson's correlation of two labels
*is* Matthews', so Pearson and Spearman follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics

from rolora.errors import InputError

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    """The share of predictions that are right, in [0, 1].

    Example:
        >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
        0.75
    """
    return float(sklearn_metrics.accuracy_score(references, predictions))


def f1(predictions: np.ndarray, references: np.ndarray) -> float:
    r"""Return F1 of label 1: :math:`2 TP / (2 TP + FP + FN)`, in [0, 1]; 0 where neither side has a label 1.

    Example:
        Two of three positives found (TP = 2, FN = 1), one false alarm (FP = 1): 4 / (4 + 1 + 1).

        >>> round(f1(np.array([1, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0])), 12) == round(4 / 6, 12)
        True
        >>> f1(np.array([0, 0]), np.array([0, 0]))
        0.0
    """
    return float(sklearn_metrics.f1_score(references == 1, predictions == 1, zero_division=0.0))


def macro_f1(predictions: np.ndarray, references: np.ndarray) -> float:
    """The mean of each label's F1, over the labels that are predicted or true somewhere, in [0, 1].

    Example:
        Label 0: TP 1, FN 1, so 2/3. Label 1: TP 1, FP 1, so 2/3. Label 2: TP 1, so 1.

        >>> round(macro_f1(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2])), 12) == round(7 / 9, 12)
        True
    """
    return float(sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0.0))


def matthews_correlation(predictions: np.ndarray, references: np.ndarray) -> float:
    r"""Matthews' correlation, in [-1, 1]; 0 where all predictions or all references are the same.

    For two labels :math:`(TP \cdot TN - FP \cdot FN) / \sqrt{(TP+FP)(TP+FN)(TN+FP)(TN+FN)}`; Gorodkin's extension for more.

    Example:
        TP = 2, TN = 1, FP = 1, FN = 1: (2 - 1) / sqrt(3 * 3 * 2 * 2) = 1/6.

        >>> round(matthews_correlation(np.array([1, 1, 0, 1, 0]), np.array([1, 1, 1, 0, 0])), 12) == round(1 / 6, 12)
        True
        >>> matthews_correlation(np.array([1, 1, 1]), np.array([1, 0, 1]))
        0.0
    """
    if _constant(predictions) or _constant(references):
        return 0.0
    return float(sklearn_metrics.matthews_corrcoef(references, predictions))


def pearson(predictions: np.ndarray, references: np.ndarray) -> float:
    """Pearson's correlation, in [-1, 1]; 0 where either side is constant up to rounding, or there is one example.

    Example:
        Deviations (-1, 0, 1) and (-2, 1, 1): 3 / sqrt(2 * 6).

        >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([0.0, 3.0, 3.0])), 12) == round(3 / 12**0.5, 12)
        True
        >>> pearson(np.array([2.5, 2.5]), np.array([0.0, 5.0]))
        0.0
    """
    if _constant(predictions) or _constant(references):
        return 0.0
    return float(stats.pearsonr(np.float64(predictions), np.float64(references)).statistic)


def spearman(predictions: np.ndarray, references: np.ndarray) -> float:
    """Spearman's rank correlation, ties at their mean rank, in [-1, 1]; 0 as for :func:`pearson`.

    Example:
        Without ties 1 - 6 sum d^2 / (n (n^2 - 1)): ranks 1 2 3 4 against 1 2 4 3 give 1 - 12 / 60.

        >>> round(spearman(np.array([0.1, 0.2, 0.3, 9.0]), np.array([1.0, 2.0, 4.0, 3.0])), 12)
        0.8
    """
    if _constant(predictions) or _constant(references):
        return 0.0
    return float(stats.spearmanr(predictions, references).statistic)


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews_correlation": matthews_correlation,
    "pearson": pearson,
    "spearman": spearman,
}
"""By the name that configs and records use. Higher is better for each."""

OF_TASK = {
    "classification": ("accuracy", "f1", "macro_f1", "matthews_correlation"),
    "regression": ("pearson", "spearman"),
}
"""Metrics that a task can have."""

DEFAULT = {"classification": ("accuracy",), "regression": ("pearson", "spearman")}
"""Default metrics of a task; the first is the primary one."""


def compute(names: Sequence[str], predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Some metrics of predictions, in the order of their names.

    Args:
        names: of :data:`METRICS`.
        predictions: (n,) label numbers from 0 for classification, numbers for regression; n at least 1.
        references: (n,) what is true.

    Returns:
        Finite numbers by name.

    Raises:
        InputError: an unknown name; predictions or references that are none, of different number, or not finite.

    Example:
        >>> compute(["accuracy", "f1"], np.array([1, 0, 1, 1]), np.array([1, 0, 0, 1]))
        {'accuracy': 0.75, 'f1': 0.8}
    """
    predictions, references = np.asarray(predictions), np.asarray(references)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InputError(f"metrics: got {unknown[0]!r}, expected one of {', '.join(METRICS)}")
    if predictions.shape != references.shape or predictions.ndim != 1 or not len(predictions):
        raise InputError(
            f"metrics: got predictions of shape {predictions.shape} and references of shape {references.shape}, expected "
            "one prediction for each of at least one reference"
        )
    for what, values in (("predictions", predictions), ("references", references)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise InputError(
                f"metrics: {bad} of {len(values)} {what} are not finite numbers, expected finite ones; a lower "
                "training.learning_rate or training.max_grad_norm keeps a model from diverging"
            )
    return {name: METRICS[name](predictions, references) for name in names}


def _constant(values: np.ndarray) -> bool:
    """Return whether values vary by no more than rounding, so that a correlation with them is noise."""
    numbers = np.float64(values)
    return bool(np.ptp(numbers) <= 1e-12 * np.max(np.abs(numbers)))
