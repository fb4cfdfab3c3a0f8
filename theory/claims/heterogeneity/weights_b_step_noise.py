r"""The noise of a weighted b-step, and the weights that make it least.

**Statement.** With weights p_i that sum to one and m_i samples at client i, a independent of the data,

.. math::
    E\,\bar\xi = 0, \qquad \mathrm{Var}\,\bar\xi = \sum_i \frac{p_i^2}{m_i - 2} \ge \frac{1}{\sum_i(m_i - 2)},

with equality iff p_i is proportional to m_i - 2 (for large m_i: to m_i, FedAvg's weights). At equal m the variance is that
of :math:`1/\sum p_i^2` equally weighted clients. The error of the averaged product is
:math:`(1 + \mathrm{Var}\,\bar\xi)\,\delta^2\|b^*\|^2` in the mean of its square.

**Assumptions.** Gaussian inputs, independent clients, m_i > 4 (for the test's own variance): by construction.

**Direction.** Tight; the lower bound is attained, and is checked as an equality at its weights.

**Source.** Derived here; equal weights are the :math:`1/(N(m - 2))` of the claim ffa-floor-population.

**Derivation.** xi_i is :math:`t_{m_i}/\sqrt{m_i}` (claim b-step-t-distribution), of variance 1/(m_i - 2), and the clients are
independent. Cauchy and Schwarz: :math:`1 = (\sum p_i)^2 \le \sum\frac{p_i^2}{m_i - 2}\sum(m_i - 2)`. The product's error is
:math:`\delta^2(1 + \bar\xi^2)\|b^*\|^2` (claim product-error).

**Test.** RoLoRA's weighted B-round; the Monte Carlo mean of the product's squared error over :math:`\delta^2\|b^*\|^2`,
less 1, over the variance (1), with Student's interval.

**Control.** The variance of equal weights, :math:`\frac{1}{N^2}\sum 1/(m_i - 2)`, for FedAvg's.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.local_steps import weighted_noise
from theory.verification.claim import Instances, Statement, equal
from theory.verification.statistics import mean_interval

SAMPLES, DRAWS, SINE = (10, 12, 20, 60), 12_000, 0.6
WEIGHTS = {
    "equal": (1.0, 1.0, 1.0, 1.0),
    "proportional to m": tuple(float(m) for m in SAMPLES),
    "proportional to m - 2": tuple(m - 2.0 for m in SAMPLES),
    "one client almost alone": (20.0, 1.0, 1.0, 1.0),
}


def check(key: Key, names: tuple[str, ...] = tuple(WEIGHTS), equal_weights: bool = False) -> Instances:
    """All choices of weights."""
    # In the plane of a and a* the floor does not depend on d.
    a, a_star = np.array([[[1.0], [0.0]]]), np.array([[[np.sqrt(1 - SINE**2)], [SINE]]])
    draws = [draw_moments(key.fold("client", i), DRAWS, 1, m, 2)[0] for i, m in enumerate(SAMPLES)]
    ensemble = planted(np.concatenate(draws, axis=1), a_star, np.ones((1, len(SAMPLES), 1, 1)), 2)
    start, training = Layer(np.repeat(a, DRAWS, axis=0), np.zeros((DRAWS, 1, 1))), LocalTraining(0.1)
    for name in names:
        weights = WEIGHTS[name]
        (layer,) = rounds(ensemble, ALGORITHMS["rolora"](), start, training, 1, weights=list(weights))
        stated = weighted_noise(WEIGHTS["equal"] if equal_weights else weights, SAMPLES)
        if name == "proportional to m - 2":
            stated = 1 / sum(m - 2 for m in SAMPLES)
        excess = np.sum((layer.update - a_star) ** 2, axis=(1, 2)) / SINE**2 - 1
        interval = mean_interval(excess / stated)
        yield equal(interval.estimate, 1.0, interval.half_width, f"weights {name}, variance {stated:.4f}")


def control(key: Key) -> Instances:
    """The variance of equal weights, for FedAvg's."""
    return check(key, ("proportional to m",), equal_weights=True)


CLAIM = Statement(
    source="derived here; client weights in Algorithm 2, arXiv 2502.01755v4",
    kind="measurement",
    statement="weights p_i, m_i samples: Var xi-bar = sum p_i^2/(m_i - 2), least 1/sum(m_i - 2) at p_i ~ m_i - 2 (measured: ratio)",
    convention="none: a minimiser does not depend on the loss's scale",
)
