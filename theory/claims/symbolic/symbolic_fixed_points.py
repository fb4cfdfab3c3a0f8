r"""Fixed points of the map of angles, their multipliers, and the step of cubic convergence.

**Statement.** In :math:`[0, \pi/2]` the fixed points are 0 and :math:`\pi/2`, with multipliers :math:`1 - f\kappa` and
:math:`1 + f\kappa`: 0 attracts iff :math:`f\kappa < 2`, and :math:`\pi/2` never does. At :math:`f\kappa = 1`
(:math:`\kappa = \tfrac12` for f = 2) :math:`\theta^+ = \theta^3 + O(\theta^5)`.

**Assumptions.** S_i = I and a start at distance h of a fixed point, both by construction.

**Direction.** Tight: the local expansions are attained up to a remainder that is part of the slack.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4.

**Derivation.** SymPy solves :math:`\theta^+ = \theta` for the map of ``symbolic-population-map``, expands it at both points to
order 8 (even terms vanish), solves :math:`|1 \mp f\kappa| < 1`, and the expansion is held against RoLoRA's two rounds.
The remainder is Cauchy's: with :math:`q = f\kappa/2` and :math:`q\sinh 2r = \tfrac12`, in the disc :math:`|z| \le r` the map is
analytic and at most :math:`M = r + \mathrm{artanh}\tfrac12`, so the terms from order 9 are at most
:math:`M (h/r)^9/(1 - h/r)`.

**Control.** The expansion at the other fixed point.
"""

import numpy as np

from rolora.keys import Key
from theory import symbolic
from theory.linear.bounds import local_ratio
from theory.linear.geometry import normalise, orthogonal_unit
from theory.linear.model import GradientFactor, population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, equal

CASES: list[tuple[float, GradientFactor]] = [(0.1, 2), (0.5, 2), (0.9, 2), (0.4, 1), (1.0, 1), (1.7, 1)]
DISTANCES, DIMENSION, ORDER = (1e-3, 1e-2), 5, 8


def _instance(key: Key, here: int, expanded_at: int, kappa: float, factor: GradientFactor, h: float) -> Instance:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, 3)
    ends = (a_star, orthogonal_unit(key.fold("orthogonal"), a_star))  # the directions at 0 and at pi/2
    near, far = ends[here], ends[1 - here]
    model, a0 = population(1, a_star, b_star, factor), normalise(np.cos(h) * near + np.sin(h) * far)
    after = alt_min_gd(model, a0, kappa / float(b_star @ b_star), 1).a[-1]
    point = symbolic.fixed_points()[expanded_at]
    coefficients = symbolic.expansion(point, ORDER).value(kappa, float(factor))
    radius = np.arcsinh(1 / (factor * kappa)) / 2
    remainder = (radius + np.arctanh(0.5)) * (h / radius) ** (ORDER + 1) / (1 - h / radius)
    slack = float(remainder) + EPS * DIMENSION * (1 + factor * kappa)
    where = f"distance {h} from {symbolic.fixed_points()[here]}, kappa={kappa}, f={factor}"
    return equal(np.arctan2(after @ far, after @ near), coefficients @ h ** np.arange(1, ORDER + 1), slack, where)


def _instances(key: Key, swapped: bool) -> list[Instance]:
    return [
        _instance(key.fold("case", number, "point", here), here, 1 - here if swapped else here, kappa, factor, h)
        for number, (kappa, factor) in enumerate(CASES)
        for here in (0, 1)
        for h in DISTANCES
    ]


def check(key: Key) -> Instances:
    """Both fixed points; the multiplier against theory.linear.bounds; the end of the stable steps; the cubic case."""
    zero = symbolic.fixed_points()[0]
    yield from _instances(key, False)
    for kappa, factor in CASES:
        first, _, third, *_ = symbolic.expansion(zero, ORDER).value(kappa, float(factor))
        yield equal(abs(first), local_ratio(kappa, factor), EPS * 2, f"multiplier, kappa={kappa}, f={factor}")
        if factor * kappa == 1:
            yield equal(third, 1.0, EPS * 4, f"cubic term, kappa={kappa}, f={factor}")
            yield equal(first, 0.0, EPS, f"linear term, kappa={kappa}, f={factor}")
        end = float(symbolic.stable_steps(zero, factor).sup)
        yield equal(local_ratio(end, factor), 1.0, EPS * 2, f"end of the stable steps, kappa={end}, f={factor}")


def control(key: Key) -> Instances:
    """The expansions exchanged."""
    return _instances(key, True)


CLAIM = Statement(
    source="derived here by SymPy, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="fixed points 0 (multiplier 1 - f kappa) and pi/2 (1 + f kappa); theta+ = theta^3 + ... at f kappa = 1",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
