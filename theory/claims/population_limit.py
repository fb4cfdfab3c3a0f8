r"""Finite data approach the population map like one over the root of the pooled sample size.

**Statement.** The root mean square of :math:`\theta^+ - \theta^+_{pop}` decays as :math:`(Nm)^{-1/2}`.

**Derivation.** To first order the deviation is linear in :math:`S - I` and :math:`\bar\xi`, both of which are means over
N m independent rows with a finite variance.

**Test.** The slope of log RMS against log(N m), with Student's interval over the sizes; measured and predicted are slopes.

**Control.** The rate 1/(N m), the square of the true one.
"""

import numpy as np

from rolora.keys import Key
from theory.bounds import population_step
from theory.claim import Claim, Result, equal, judge
from theory.geometry import angle_distance, normalise, start_at
from theory.linear import sample
from theory.linear_rounds import alt_min_gd
from theory.statistics import slope

CLIENTS, DIMENSION, THETA, KAPPA, RUNS = 2, 4, 0.8, 0.3, 60
SAMPLES = [int(m) for m in np.geomspace(40, 2560, 20)]


def _judge(key: Key, rate: float, runs: int) -> Result:
    a_star, target, errors = normalise(np.ones(DIMENSION)), population_step(THETA, KAPPA, 2), []
    for m in SAMPLES:
        squares = []
        for number in range(runs):
            draw = key.fold("m", m, "run", number)
            a0 = start_at(draw.fold("a0"), a_star, float(np.sin(THETA)))
            model = sample(draw.fold("data"), CLIENTS, m, a_star, np.ones(1), 2)
            after = alt_min_gd(model, a0, KAPPA, 1).a[-1]
            squares.append((float(np.arcsin(angle_distance(after, a_star))) - target) ** 2)
        errors.append(np.sqrt(np.mean(squares)))
    fit = slope(np.log(CLIENTS * np.array(SAMPLES, dtype=float)), np.log(errors))
    where = f"N m from {CLIENTS * SAMPLES[0]} to {CLIENTS * SAMPLES[-1]}, {runs} runs each, +-{fit.half_width:.2g}"
    return judge([equal(fit.estimate, rate, fit.half_width, where)])


def check(key: Key) -> Result:
    """The exponent -1/2."""
    return _judge(key, -0.5, RUNS)


def control(key: Key) -> Result:
    """The exponent -1."""
    return _judge(key, -1.0, 20)


CLAIM = Claim(
    id="population-limit",
    source="derived here",
    kind="rate",
    direction="tight",
    statement="theta+ on finite data misses the population map by O((N m)^(-1/2)), root mean square",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="holds",
    check=check,
    control=control,
)
