r"""One iteration at rank r on any finite data, deterministically.

**Statement.** With delta the sine of the largest principal angle, :math:`e = \|S - I\|`, S the mean of the S_i,
:math:`\bar B = RB^*`, :math:`R = A^TA^* + \bar E`, :math:`\xi = \|\bar E\|/\delta`, :math:`M = B^*B^{*T}` and a positive
denominator,

.. math::
    \delta^+ \le \delta\,\frac{\|I - f\eta RMR^T\| + f\eta\|MR^T\|\,e\sqrt{1 + \xi^2}}
    {1 - f\eta\|MR^T\|\,\delta\,(\xi + e\sqrt{1 + \xi^2})}.

**Assumptions.** Equal heads, no label noise: by construction. Counted are instances whose right side is below 1.

**Direction.** Upper; attained for e = 0 = xi as delta -> 0, along the slowest direction.

**Source.** Derived here; r = 1 is the claim one-step-inequality.

**Derivation.** With :math:`P = A^* - AA^TA^*` the step is :math:`A' = A - f\eta SG`, :math:`G = (A\bar E - P)MR^T` (claim
rank-r-b-step). Projected off A*, P is :math:`-FA^TA^*` with :math:`F = (I - A^*A^{*T})A`, so the part with S = I is
:math:`F(I - f\eta RMR^T)`, and the rest at most :math:`f\eta e\|G\|`, where
:math:`\|A\bar E - P\|^2 = \|\bar E^T\bar E + P^TP\| \le \delta^2(1 + \xi^2)`. Orthonormalising divides by at most
:math:`\sigma_{\min}(A') \ge \sigma_{\min}(A^TA')`, where :math:`A^TA' = I - f\eta\bar EMR^T - f\eta A^T(S - I)G`.

**Control.** The noise of the second moments dropped, e = 0 on the right.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance
from theory.linear.rank_r import random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, at_most

SIZES = [(2, 12, 5), (5, 30, 6), (10, 200, 8), (3, 3000, 12)]  # N, m, d
SPECTRA, ANGLES, INSTANCES = [(1.0,), (1.5, 1.0), (2.0, 1.0)], (0.02, 0.3, 1.0), 8


def _instances(key: Key, size: tuple[int, int, int], sigma: tuple[float, ...], noise_kept: bool) -> Instances:
    (clients, samples, dimension), rank, norm = size, len(sigma), np.linalg.norm
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, dimension, rank + 1, sigma)
    right, _ = random_factors(key.fold("right"), INSTANCES, rank, rank, np.ones(rank))
    moments, _ = draw_moments(key.fold("data"), INSTANCES, clients, samples, dimension)
    etas = key.fold("eta").generator().uniform(0.02, 0.8, INSTANCES) / sigma[0] ** 2
    for angle in ANGLES:
        a0 = start_at(key.fold("a0", repr(angle)), a_star, right, np.full((1, rank), angle))
        for factor in (1, 2):
            ensemble = planted(moments, a_star, np.repeat(b_star[:, None], clients, axis=1), factor)
            runs = alt_min_gd(ensemble, a0, etas, 1)
            before, after = subspace_distance(a0, a_star), subspace_distance(runs.a[:, -1], a_star)
            for i in range(INSTANCES):
                left = runs.b[i, 0] @ np.linalg.pinv(b_star[i])  # R
                gram, step, delta = b_star[i] @ b_star[i].T, factor * float(etas[i]), float(before[i])
                xi = float(norm(left - a0[i].T @ a_star[i], 2)) / delta
                error = float(norm(np.mean(moments[i], axis=0) - np.eye(dimension), 2)) if noise_kept else 0.0
                noise, length = error * np.sqrt(1 + xi**2), step * float(norm(gram @ left.T, 2))
                denominator = 1 - length * delta * (xi + noise)
                above = float(norm(np.eye(rank) - step * left @ gram @ left.T, 2)) + length * noise
                bound = delta * above / denominator if denominator > 0 else np.inf
                # Orthonormalising divides the rounding of A', too, by at least the denominator.
                slack = 10 * EPS * (clients + dimension) * (1 + step * sigma[0] ** 2) ** 2 / abs(denominator)
                where = f"N, m, d={size}, sigma={sigma}, f={factor}, delta={delta:.2f}, f eta sigma_1^2={step * sigma[0] ** 2:.2f}"
                yield at_most(float(after[i]), float(bound), float(slack), where, met=bool(bound < 1))


def check(key: Key, sizes: list[tuple[int, int, int]] = SIZES, noise_kept: bool = True) -> Instances:
    """All sizes and spectra."""
    cases = [(size, sigma) for size in sizes for sigma in SPECTRA]
    return (i for n, case in enumerate(cases) for i in _instances(key.fold("case", n), *case, noise_kept))


def control(key: Key) -> Instances:
    """e = 0 on the right."""
    return check(key, SIZES[:2], noise_kept=False)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="bound",
    statement="delta+ <= delta (||I - s R M R^T|| + s||M R^T|| e sqrt(1+xi^2)) / (1 - s||M R^T|| delta (xi + e sqrt(1+xi^2))), s=f eta",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
