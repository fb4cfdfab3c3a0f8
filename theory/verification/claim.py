"""Statements, claims, comparisons, and the verdict over them.

A check produces instances: pairs (measured, predicted) with the slack that rounding or sampling allows. An instance
that does not meet the statement's assumptions is not counted, and a check without a counted instance decides nothing.
A control is the same check in a case where the statement must be false. A control that is not refuted means that the
check cannot see a falsehood, so its claim counts as failed whatever its own verdict. Where the statement itself is false,
a contrast is the same check in a case where it is true: it must hold, or the check cannot see a truth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.verification.statistics import mean_interval

Verdict = Literal["holds", "holds with the stated correction", "refuted", "not run"]
Kind = Literal["identity", "bound", "rate", "high probability", "measurement"]
Direction = Literal["tight", "upper", "lower"]
"""Measured equals predicted; is at most the predicted; is at least the predicted."""

EPS = float(np.finfo(np.float64).eps)
"""The spacing of float64 at 1: the unit of every tolerance that stands for rounding."""


@dataclass(frozen=True)
class Instance:
    """One comparison.

    Args:
        measured: the left-hand side, or its norm.
        predicted: the right-hand side, or its norm.
        gap: by how much the statement is missed; negative where a bound holds with room.
        slack: what rounding or sampling allows, > 0.
        where: the parameters of this instance, for the report.
        met: whether the statement's assumptions hold here.
    """

    measured: float
    predicted: float
    gap: float
    slack: float
    where: str
    met: bool = True

    @property
    def excess(self) -> float:
        """The gap in units of the slack: at most 1 where the statement holds, infinite if it is not a number."""
        excess = self.gap / self.slack
        return math.inf if math.isnan(excess) else excess


def equal(measured: float, predicted: float, slack: float, where: str, met: bool = True) -> Instance:
    """The instance of an equation between numbers.

    Example:
        >>> equal(1.0, 1.0, EPS, "at one").excess
        0.0
    """
    return Instance(float(measured), float(predicted), abs(float(measured) - float(predicted)), slack, where, met)


def equal_arrays(
    measured: Float[Array, "*shape"], predicted: Float[Array, "*shape"], slack: float, where: str, met: bool = True
) -> Instance:
    """The instance of an equation between arrays: their norms, and the norm of the difference as the gap."""
    norm = np.linalg.norm
    return Instance(float(norm(measured)), float(norm(predicted)), float(norm(measured - predicted)), slack, where, met)


def at_most(measured: float, predicted: float, slack: float, where: str, met: bool = True) -> Instance:
    """The instance of an upper bound.

    Example:
        >>> at_most(1.0, 2.0, EPS, "").excess < 0
        True
    """
    return Instance(float(measured), float(predicted), float(measured) - float(predicted), slack, where, met)


def at_least(measured: float, predicted: float, slack: float, where: str, met: bool = True) -> Instance:
    """The instance of a lower bound."""
    return Instance(float(measured), float(predicted), float(predicted) - float(measured), slack, where, met)


def equal_mean(
    sample: Float[Array, "n"], predicted: float, where: str, beyond: float = 0.0, digits: str = ".2g"
) -> Instance:
    """The instance of an expectation: the mean of independent draws, with the half width of its interval as the slack.

    Args:
        sample: the draws, at least 2.
        predicted: their expectation.
        where: the parameters of this instance; the half width is added to them.
        beyond: a bound of what the derivation leaves out, added to the slack.
        digits: the format of the half width.
    """
    interval = mean_interval(sample)
    where = f"{where}, +-{interval.half_width:{digits}}"
    return equal(interval.estimate, predicted, interval.half_width + beyond, where)


Instances = Iterable[Instance]
"""What a check, a control, a contrast or a printed statement draws."""


@dataclass(frozen=True)
class Result:
    """The result of a check: the pair at its worst instance, the verdict, and the number of counted instances."""

    measured: float
    predicted: float
    verdict: Verdict
    instances: int
    where: str


def judge(instances: Instances, as_printed: Instances | None = None) -> Result:
    """The verdict over all counted instances.

    Args:
        instances: of the statement; of the corrected statement, where there is one.
        as_printed: of the statement as its source prints it, where this project corrects it. The correction is
            credited only if it was needed: some of these must fail.

    Returns:
        The worst instance and the verdict; "not run" if no instance meets the assumptions.

    Example:
        >>> judge([at_most(1.0, 2.0, EPS, "")]).verdict
        'holds'
        >>> judge([at_most(1.0, 2.0, EPS, "")], as_printed=[at_most(3.0, 2.0, EPS, "")]).verdict
        'holds with the stated correction'
    """
    counted = [instance for instance in instances if instance.met]
    if not counted:
        return Result(math.nan, math.nan, "not run", 0, "no instance meets the assumptions")
    worst = max(counted, key=lambda instance: instance.excess)
    verdict: Verdict = "holds" if worst.excess <= 1 else "refuted"
    if verdict == "holds" and as_printed is not None:
        needed = any(instance.met and instance.excess > 1 for instance in as_printed)
        verdict = "holds with the stated correction" if needed else "holds"
    return Result(worst.measured, worst.predicted, verdict, len(counted), worst.where)


def verdict_of(
    instances: Callable[[Key], Instances], as_printed: Callable[[Key], Instances] | None, key: Key
) -> Result:
    """Draw the instances of a statement, and of its printed form where there is one, from a key and judge them."""
    return judge(instances(key), as_printed and as_printed(key))


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement as its file declares it.

    Args:
        source: where it stands, with version and number, or "derived here".
        kind: how measured and predicted are compared.
        statement: what is claimed, in one or two lines.
        convention: the loss's normalisation, or why it does not matter.
        expected: the verdict that the derivation predicts; the verdict itself is computed.
    """

    source: str
    kind: Kind
    statement: str
    convention: str
    expected: Verdict = "holds"


@dataclass(frozen=True, kw_only=True)
class Claim(Statement):
    """A statement with its check and its control.

    Args:
        id: its name, the module's with dashes.
        direction: whether predicted equals measured or bounds it, from above or from below.
        check: draws instances from a key and judges them.
        control: the same where the statement must be false.
        contrast: of a statement that is refuted, the same where it is true.
    """

    id: str
    direction: Direction
    check: Callable[[Key], Result]
    control: Callable[[Key], Result]
    contrast: Callable[[Key], Result] | None = None


@dataclass(frozen=True)
class Outcome:
    """A claim with the results of its check, control and contrast, and their seed."""

    claim: Claim
    result: Result
    control: Result
    seed: int
    seconds: float
    contrast: Result | None = None

    @property
    def passed(self) -> bool:
        """The verdict is the expected one, the control was refuted, and the contrast, if there is one, holds."""
        expected = self.result.verdict == self.claim.expected and self.control.verdict == "refuted"
        return expected and (self.contrast is None or self.contrast.verdict == "holds")

    def as_record(self) -> dict[str, Any]:
        """The outcome for JSON; a number that is not finite becomes None."""

        def finite(number: float) -> float | None:
            return number if math.isfinite(number) else None

        texts = ("id", "source", "convention", "kind", "direction", "statement")
        return {
            **{name: getattr(self.claim, name) for name in texts},
            "measured": finite(self.result.measured),
            "predicted": finite(self.result.predicted),
            "where": self.result.where,
            "verdict": self.result.verdict,
            "expected": self.claim.expected,
            "control_verdict": self.control.verdict,
            "contrast_verdict": None if self.contrast is None else self.contrast.verdict,
            "instances": self.result.instances,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "error": None,
        }


def run(claim: Claim, seed: int) -> Outcome:
    """Check a claim, its control and its contrast, each from its own named stream.

    Args:
        claim: what to check.
        seed: of all its randomness.
    """
    start = time.perf_counter()
    root = Key(seed).fold("theory", claim.id)
    result, control = claim.check(root.fold("check")), claim.control(root.fold("control"))
    contrast = claim.contrast(root.fold("contrast")) if claim.contrast else None
    return Outcome(claim, result, control, seed, time.perf_counter() - start, contrast)
