r"""Alternating SGD on a smooth objective that is not convex: the rate that is measured.

**Statement.** At the step that is best for each T, the mean squared block gradients of T iterations of RoLoRA's rounds fall
like :math:`T^{-1/2}` or faster: the slope of their logarithm in log T is at most -1/2.

**Assumptions.** As in the claim ``nonconvex-bound``, every client with the same sum of cosines.

**Direction.** Upper: the fitted slope is at most -1/2, within its interval. Nor is it much below: -0.51 here, -0.54 at
:math:`\sigma = 1`, -0.50 at :math:`\sigma = 2`, so the theorem's rate is what is seen.

**Source.** Theorem A4.4, arXiv 2502.01755v4, :math:`O(1/\sqrt T)` (constants unknown).

**Derivation.** Both terms of the bound are of this order at :math:`\eta \propto \sqrt{N/T}`, and so are the two that are
measured: what the steps gain, and the floor of a constant step. (In log N the slope came out between -0.44 and -0.48 up to
T = 1000, where -1/2 is the bound's: the best step is longer the more clients there are, and not yet small. It is not claimed.)

**Test.** A least-squares slope for each of sixteen random objectives; Student's interval of their mean, confidence 0.9999.

**Control.** The step that is best for the smallest T, kept for all.
"""

import numpy as np

from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.nonconvex import best_eta, random_waves, stationarity
from theory.verification.claim import Instances, Statement, at_most
from theory.verification.statistics import mean_interval

OBJECTIVES, RUNS, CLIENTS, WAVES, SIZE, NOISE = 16, 6, 4, 4, (3, 1, 2), 1.5
ITERATIONS = (100, 200, 400, 800)


def check(key: Key, step_kept: bool = False) -> Instances:
    """Four T, to each its own step."""
    objective, start = random_waves(key.fold("objective"), OBJECTIVES, RUNS, CLIENTS, WAVES, SIZE, equal=True)
    logs = []
    for iterations in ITERATIONS:
        eta = best_eta(objective, start, NOISE, ITERATIONS[0] if step_kept else iterations)
        noise = key.fold("noise", iterations)
        values = stationarity(objective, ALGORITHMS["rolora"](), start, eta, NOISE, noise, iterations)
        logs.append(np.log(np.mean(values.reshape(OBJECTIVES, RUNS), axis=1)))
    x = np.log(np.array(ITERATIONS, dtype=float))
    x -= np.mean(x)
    interval = mean_interval(x @ np.array(logs) / (x @ x))
    span = f"T={ITERATIONS[0]} to {ITERATIONS[-1]}"
    where = f"slope in log T, N={CLIENTS}, sigma={NOISE}, {span}, {OBJECTIVES} objectives, +-{interval.half_width:.2g}"
    return [at_most(interval.estimate, -0.5, interval.half_width, where)]


def control(key: Key) -> Instances:
    """One step for all T."""
    return check(key, step_kept=True)


CLAIM = Statement(
    source="Theorem A4.4, arXiv 2502.01755v4 (constants unknown)",
    kind="rate",
    statement="non-convex, best step: mean squared block gradients of T iterations fall like T^(-1/2), slope at most -1/2",
    convention="none: any smooth objective (checked on sums of cosines)",
)
