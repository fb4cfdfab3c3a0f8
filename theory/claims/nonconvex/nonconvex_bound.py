r"""Alternating SGD on a smooth objective that is not convex: the bound, with its constants.

**Statement.** One stochastic step a client and block, B then A, each averaged over N clients, with
:math:`\eta \le \min(1/L_A, 1/L_B)`:

.. math::
    \frac1T\sum_{t<T}\Big(E\|\nabla_B f(A^t, B^t)\|^2 + E\|\nabla_A f(A^t, B^{t+1})\|^2\Big)
    \le \frac{2(f^0 - f^*)}{\eta T} + (L_A + L_B)\frac{\eta\sigma^2}{N},

at the best step :math:`2\sqrt{2(f^0 - f^*)(L_A + L_B)\sigma^2/(NT)}`, which is :math:`O(1/\sqrt{NT})`.

**Assumptions.** Unbiased errors of variance :math:`\sigma^2`, independent between clients; block smoothness, known in closed
form for the objective (sums of cosines); the step, checked on every instance.

**Direction.** Upper; about a third of it is measured at the best step.

**Source.** Derived here; compare Theorem A4.4, arXiv 2502.01755v4, :math:`O(1/\sqrt T)` (constants unknown).

**Derivation.** The averaged gradient has variance :math:`\sigma^2/N`, so a step on B changes f by at most
:math:`-\eta\|\nabla_B\|^2 + \frac{L_B\eta^2}{2}(\|\nabla_B\|^2 + \sigma^2/N) \le -\frac\eta2\|\nabla_B\|^2 +
\frac{L_B\eta^2\sigma^2}{2N}` in the mean, likewise A at the new B. Add up 2T steps and divide by :math:`\eta T/2`.

**Test.** Means over runs of each objective, in units of the bound; Student's half width at confidence 0.9999.

**Control.** Errors common to all clients: averaging does not divide their variance.
"""

import numpy as np

from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.nonconvex import best_eta, random_waves, stationarity, stationarity_bound
from theory.verification.claim import Instance, Instances, Statement, at_most
from theory.verification.statistics import mean_interval

OBJECTIVES, RUNS, WAVES, SIZE = 3, 12, 4, (3, 2, 3)
CASES = ((1, 1.0, 100), (4, 2.0, 100), (16, 2.0, 200), (4, 0.05, 100))  # N, sigma, T; the last at the largest step


def _instances(key: Key, num_clients: int, noise: float, iterations: int, common_noise: bool) -> list[Instance]:
    objective, start = random_waves(key.fold("objective"), OBJECTIVES, RUNS, num_clients, WAVES, SIZE)
    eta = best_eta(objective, start, noise, iterations)
    values = stationarity(
        objective, ALGORITHMS["rolora"](), start, eta, noise, key.fold("noise"), iterations, common_noise
    )
    shares = (values / stationarity_bound(objective, start, eta, noise, iterations)).reshape(OBJECTIVES, RUNS)
    largest = eta * np.maximum(objective.smoothness("A"), objective.smoothness("B"))
    met = bool(np.all(largest <= 1 + 1e-12))
    where = f"N={num_clients}, sigma={noise}, T={iterations}, left side over right, mean of {RUNS} runs"
    intervals = [mean_interval(runs) for runs in shares]
    return [at_most(interval.estimate, 1.0, interval.half_width, where, met) for interval in intervals]


def check(key: Key) -> Instances:
    """Four sizes, four objectives each, clients with functions of their own."""
    return (i for n, case in enumerate(CASES) for i in _instances(key.fold("case", n), *case, common_noise=False))


def control(key: Key) -> Instances:
    """Sixty-four clients with one error."""
    return _instances(key, 64, 1.0, 300, common_noise=True)


CLAIM = Statement(
    source="derived here; compare Theorem A4.4, arXiv 2502.01755v4 (constants unknown)",
    kind="bound",
    statement="non-convex, eta <= 1/L: mean ||grad_B||^2 + ||grad_A||^2 <= 2 (f0 - f*)/(eta T) + (L_A + L_B) eta sigma^2/N (ratio)",
    convention="none: any smooth objective (checked on sums of cosines)",
)
