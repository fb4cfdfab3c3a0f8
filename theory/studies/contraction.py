r"""Contraction of one iteration over the whole range of steps, in both conventions of the loss.

The claimed factor is :math:`\sqrt{1 - \kappa c_0}` at every angle with :math:`\cos^2\theta \ge c_0`. Measured as well, with
Algorithm 2 itself: the largest ratio over those angles, and the ratio close to a*.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.bounds import contraction, largest_kappa
from theory.linear.ensemble import Ensemble, draw_moments, isotropic, planted
from theory.linear.fresh_data import angle_path, starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.studies.linear import EXACT, Progress

CONVENTIONS: tuple[GradientFactor, ...] = (1, 2)


@dataclass(frozen=True)
class ContractionParameters:
    """The sizes; the field names are those of the record.

    Args:
        num_clients: N.
        samples: m.
        dimension: d.
        delta0: the largest angle distance that is counted; c_0 = 1 - delta_0^2.
        smallest_delta: the angle distance that stands for "close to a*".
        angles: how many between the two, equally spaced in the logarithm of delta.
        directions: random directions of a at every angle; the ratio's root mean square is taken over them.
        num_seeds: independent draws of truth and data.
        num_kappas: steps on finite data.
        num_population_kappas: steps in the population.
        beyond: up to which multiple of the critical step 2/f the steps go.
    """

    num_clients: int = 10
    samples: int = 200
    dimension: int = 20
    delta0: float = 0.6
    smallest_delta: float = 1e-3
    angles: int = 9
    directions: int = 20
    num_seeds: int = 5
    num_kappas: int = 16
    num_population_kappas: int = 96
    beyond: float = 1.2


QUICK = ContractionParameters(
    num_clients=4, samples=100, dimension=6, angles=3, directions=6, num_seeds=2, num_kappas=5, num_population_kappas=12
)
"""A shortened experiment of the same shape, for tests."""


def ratios(
    key: Key, data: Ensemble, a_star: Float[Array, "1 d 1"], kappas: Float[Array, "k"], p: ContractionParameters
) -> Float[Array, "k angles"]:
    """The root mean square ratio delta+/delta of one iteration, at every step and angle.

    Args:
        key: of the directions, which are the same for every step.
        data: one instance with ||b*|| = 1.
        a_star: its a*.
        kappas: the steps.
        p: the angles and directions.

    Returns:
        The ratios, angles from the smallest to the largest.
    """
    deltas = np.geomspace(p.smallest_delta, p.delta0, p.angles)
    count = p.angles * p.directions
    several = np.broadcast_to(a_star, (count, *a_star.shape[1:]))
    starts = starts_at(key, several, np.repeat(deltas, p.directions)[:, None, None])
    rows = []
    for kappa in kappas:
        path = angle_path(lambda t: data, starts, several, float(kappa), 1)
        square = (path[:, 1] / path[:, 0]) ** 2
        rows.append(np.sqrt(np.mean(square.reshape(p.angles, p.directions), axis=1)))
    return np.array(rows)


def one_series(
    key: Key, data: Ensemble, a_star: Float[Array, "1 d 1"], seed: int | None, p: ContractionParameters
) -> dict[str, Any]:
    """The series of one data set and convention, ready for JSON."""
    f = data.gradient_factor
    count = p.num_population_kappas if seed is None else p.num_kappas
    kappas = np.linspace(0, p.beyond * 2 / f, count + 1)[1:]
    measured, c0 = ratios(key, data, a_star, kappas, p), 1 - p.delta0**2
    return {
        "panel": "range",
        "algorithm": "rolora",
        "local_update": EXACT,
        "data": "population" if seed is None else "fixed",
        "seed": seed,
        "gradient_factor": f,
        "kappa": kappas.tolist(),
        "worst": np.max(measured, axis=1).tolist(),
        "local": measured[:, 0].tolist(),
        "claimed": [contraction(float(kappa), c0) if kappa * c0 <= 1 else None for kappa in kappas],
        "range_end": largest_kappa(c0, f),
    }


def experiment(seed: int, quick: bool, progress: Progress) -> dict[str, Any]:
    """The contraction experiment, ready for JSON.

    Every series has ``panel`` ("range"), ``algorithm``, ``local_update``, ``data`` ("population" or "fixed"), ``seed`` (None
    for the population), ``gradient_factor``, ``range_end`` (where the claimed factor stops being true in the population),
    and lists of one length: ``kappa``, ``worst`` (largest ratio over the angles), ``local`` (ratio at the smallest angle),
    ``claimed`` (None where kappa c_0 > 1, of which there is no root).

    Example:
        >>> record = experiment(0, True, lambda share: None)
        >>> sorted({(series["data"], series["gradient_factor"]) for series in record["series"]})
        [('fixed', 1), ('fixed', 2), ('population', 1), ('population', 2)]
    """
    p = QUICK if quick else ContractionParameters()
    root, head, series = Key(seed).fold("theory", "contraction"), np.ones((1, 1, 1, 1)), []
    plane = np.eye(2)[None, :, :1]
    for f in CONVENTIONS:
        series.append(one_series(root.fold("population"), planted(isotropic(1, 1, 2), plane, head, f), plane, None, p))
    for number in range(p.num_seeds):
        draw = root.fold("draw", number)
        a_star = unit_columns(draw.fold("a*"), 1, p.dimension)
        moments, _ = draw_moments(draw.fold("data"), 1, p.num_clients, p.samples, p.dimension)
        heads = np.broadcast_to(head, (1, p.num_clients, 1, 1))
        for f in CONVENTIONS:
            series.append(one_series(draw.fold("starts"), planted(moments, a_star, heads, f), a_star, number, p))
        progress((number + 1) / p.num_seeds)
    return {"parameters": asdict(p), "series": series}
