r"""The largest step that converges on fixed data, in many dimensions.

**Statement.** As d and Nm grow at a fixed :math:`\gamma = d/(Nm) < 1` and N, Algorithm 2 converges locally on fixed data iff
:math:`f\kappa(1 + \sqrt\gamma)^2 < 2` (f = 2: :math:`\kappa(1 + \sqrt\gamma)^2 < 1`): the largest eigenvalue of
:math:`S_{pp} - S_{pa}\,\mathrm{mean}_i(S_{i,ap}/S_{i,aa})` tends to the edge :math:`(1 + \sqrt\gamma)^2` from below in the mean,
with a relative gap of :math:`O(d^{-2/3})`.

**Assumptions.** Gaussian data; :math:`\gamma = 1/4`, N = 1 and 4: by construction.

**Direction.** Upper, of the slope of the gap, -2/3: from d = 8 to 64 it is -0.7 to -0.9, as the gap's next order still counts.
At finite d somewhat larger steps than in the limit converge.

**Source.** Derived here; the edge of Marchenko and Pastur, Math. USSR-Sbornik 1 (1967) 457-483, its fluctuations of
order :math:`d^{-2/3}` after Johnstone, Annals of Statistics 29 (2001) 295-327.

**Derivation.** Locally :math:`h^+ = (I - f\kappa H)h` with that matrix H (claim ``fixed-data-rate``). For N = 1 H is a Schur
complement, Wishart with one degree of freedom less in d - 1 dimensions. For N > 1 it is the pooled :math:`S_{pp}` less
a product of rank one, which moves the edge by nothing in the limit. With only a few samples a client that product is not
small: at N = 4, m = 2, d = 8 an eigenvalue is negative in some draws, and no step converges, though Nm = d.

**Test.** The fitted slope of the logarithm of the mean gap in log d, Student's interval at confidence 0.9999.

**Control.** The edge of the samples of one client, :math:`\gamma = d/m`: the gap does not close.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import draw_moments
from theory.verification.claim import Instance, Instances, Statement, at_most
from theory.verification.statistics import slope

DIMENSIONS, GROUPS, DRAWS, RATIO = (8, 16, 32, 64), 6, 16, 4  # the last is N m / d


def _gaps(key: Key, num_clients: int, dimension: int, gamma: float) -> list[float]:
    """Group means of 1 - lambda_max / (1 + sqrt(gamma))^2; a* is the first axis, which rotations allow."""
    samples = RATIO * dimension // num_clients
    moments, _ = draw_moments(key, GROUPS * DRAWS, num_clients, samples, dimension)
    coupling = np.mean(moments[..., 0, 1:] / moments[..., :1, 0], axis=1)
    pooled = np.mean(moments, axis=1)
    inner = pooled[:, 1:, 1:] - pooled[:, 1:, :1] * coupling[:, None, :]
    largest = np.max(np.abs(np.linalg.eigvals(inner)), axis=1)
    gaps = 1 - largest / (1 + np.sqrt(gamma)) ** 2
    return [float(np.mean(group)) for group in np.split(gaps, GROUPS)]


def _instance(key: Key, num_clients: int, pooled: bool) -> Instance:
    points = []
    for dimension in DIMENSIONS:
        gamma = 1 / RATIO if pooled else num_clients / RATIO
        gaps = _gaps(key.fold("d", dimension), num_clients, dimension, gamma)
        points += [(np.log(dimension), np.log(max(gap, np.finfo(float).tiny))) for gap in gaps]
    x, y = np.array(points).T
    fit = slope(x, y)
    where = f"N={num_clients}, N m/d={RATIO}, d={DIMENSIONS[0]} to {DIMENSIONS[-1]}, +-{fit.half_width:.2g}"
    return at_most(fit.estimate, -2 / 3, fit.half_width, f"slope of the log gap, {where}")


def check(key: Key) -> Instances:
    """One client and four."""
    return (_instance(key.fold("N", n), n, pooled=True) for n in (1, 4))


def control(key: Key) -> Instances:
    """Four clients, the edge of one."""
    return [_instance(key, 4, pooled=False)]


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="rate",
    statement="fixed data, d/(N m) = gamma: locally convergent iff f kappa (1 + sqrt gamma)^2 < 2, as d grows; gap O(d^(-2/3))",
    convention="both, through f kappa",
)
