"""Paired differences: results of one method less those of another at equal seed, with Student's 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rolora.evaluation.intervals import MeanInterval, student

NOT_SIGNIFICANT = "no significant difference"
"""Of an interval that includes zero, or of a single pair, which has none."""


def by_seed(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """Return seed -> ``first`` less ``second`` for the seeds of both, in their order.

    Example:
        >>> by_seed({0: 1.0, 1: 3.0}, {1: 1.0, 2: 5.0})
        {1: 2.0}
    """
    return {seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}


def mean(first: Mapping[int, float], second: Mapping[int, float]) -> MeanInterval | None:
    """Return the mean difference over common seeds with its interval; None without a common seed."""
    differences = list(by_seed(first, second).values())
    return student(differences) if differences else None


def ends(difference: MeanInterval) -> tuple[float, float]:
    """Return the lower and upper end of the interval; both are the mean where there is one pair."""
    half_width = difference.half_width or 0.0
    return difference.mean - half_width, difference.mean + half_width


def side(difference: MeanInterval | None) -> str:
    """Return "above" or "below" if the interval excludes zero, else :data:`NOT_SIGNIFICANT`.

    Example:
        >>> side(student([0.1, 0.11, 0.12])), side(student([-0.1, 0.1, 0.0])), side(student([0.3]))
        ('above', 'no significant difference', 'no significant difference')
    """
    if difference is None or difference.half_width is None or abs(difference.mean) <= difference.half_width:
        return NOT_SIGNIFICANT
    return "above" if difference.mean > 0 else "below"


def counts(differences: Sequence[MeanInterval | None]) -> dict[str, int]:
    """Return how many of the differences :func:`side` calls above, below and not significant."""
    sides = [side(difference) for difference in differences]
    return {word: sides.count(word) for word in ("above", "below", NOT_SIGNIFICANT)}


def interval(difference: MeanInterval) -> str:
    """Return the mean with its interval.

    Example:
        >>> interval(student([0.1, 0.2, 0.3])), interval(student([0.1]))
        ('+0.200 (95 % CI -0.048 to +0.448)', '+0.100 (one seed)')
    """
    if difference.half_width is None:
        return f"{difference.mean:+.3f} (one seed)"
    low, high = ends(difference)
    return f"{difference.mean:+.3f} (95 % CI {low:+.3f} to {high:+.3f})"


def sentence(first: str, second: str, difference: MeanInterval) -> str:
    """Return which of two methods is ahead, with the interval and the number of pairs.

    Example:
        >>> sentence("RoLoRA", "FedAvg-LoRA", student([0.01, -0.02, 0.02]))
        'no significant difference between RoLoRA and FedAvg-LoRA (paired difference +0.003, 95 % CI -0.048 to +0.055, 3 seeds)'
    """
    word = side(difference)
    result = f"{word} between {first} and {second}" if word == NOT_SIGNIFICANT else f"{first} is {word} {second}"
    if difference.half_width is None:
        return f"one seed, so the difference of {first} and {second} has no interval"
    low, high = ends(difference)
    return (
        f"{result} (paired difference {difference.mean:+.3f}, 95 % CI {low:+.3f} to {high:+.3f}, {difference.n} seeds)"
    )
