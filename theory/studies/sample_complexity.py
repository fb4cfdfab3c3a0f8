r"""Sample complexity of a contraction: it depends on N per client, but not pooled.

Measured is one iteration of Algorithm 2 near a* with gradient factor 2 and :math:`\kappa = 1/2`, where the population's ratio is
zero and all that is left is noise: to first order :math:`E[(\delta^+/\delta)^2] = d/(Nm)` (claim ``sample-complexity-pooled``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rolora.keys import Key
from theory.linear.fresh_data import angle_path, fresh, starts_at, unit_columns
from theory.studies.linear import Progress, series_of
from theory.verification.statistics import slope

KAPPA, DELTA = 0.5, 1e-3


@dataclass(frozen=True)
class SampleComplexityParameters:
    """The sizes; the field names are those of the record.

    Args:
        dimension: d of the panels against m and N m.
        clients: the N.
        pools: the N m of those panels.
        fewest_samples: the smallest m that is run; with fewer the noise of a client's b-step has heavy tails.
        dimensions: the d of the last panel.
        contraction: the ratio to be reached there.
        over: the N m over d at which it is looked for; between them the ratio is interpolated in logarithms.
        instances: independent draws of truth, data and direction behind each root mean square.
        num_seeds: independent repetitions of everything.
    """

    dimension: int = 20
    clients: tuple[int, ...] = (1, 4, 16, 64)
    pools: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
    fewest_samples: int = 8
    dimensions: tuple[int, ...] = (8, 16, 32, 64)
    contraction: float = 0.125
    over: tuple[float, ...] = (45.0, 64.0, 91.0)
    instances: int = 60
    num_seeds: int = 5


QUICK = SampleComplexityParameters(
    dimension=6,
    clients=(1, 4),
    pools=(64, 256),
    dimensions=(4, 8, 16),
    over=(32.0, 64.0, 128.0),
    instances=30,
    num_seeds=2,
)
"""A shortened experiment of the same shape, for tests."""


def ratio(key: Key, num_clients: int, samples: int, dimension: int, instances: int) -> float:
    """The root mean square over instances of delta+/delta in one iteration near a*.

    Args:
        samples: m >= 5, from where the square has a variance.

    Returns:
        A number > 0, about sqrt(d/(N m)).

    Example:
        >>> 0.05 < ratio(Key(0), 2, 400, 8, 50) < 0.2
        True
    """
    a_star = unit_columns(key.fold("a*"), instances, dimension)
    data = fresh(key.fold("data"), num_clients, samples, a_star, np.ones((1, 1, 1, 1)), 2)(0)
    path = angle_path(data, starts_at(key.fold("a"), a_star, DELTA), a_star, KAPPA, 1)
    return float(np.sqrt(np.mean((path[:, 1] / path[:, 0]) ** 2)))


def ratio_series(key: Key, seed: int, num_clients: int, p: SampleComplexityParameters) -> dict[str, Any]:
    """Panel "ratio": the ratio against m, for one N."""
    samples = [pool // num_clients for pool in p.pools if pool >= p.fewest_samples * num_clients]
    measured = [ratio(key.fold("m", m), num_clients, m, p.dimension, p.instances) for m in samples]
    return series_of("ratio", seed) | {
        "num_clients": num_clients,
        "samples": samples,
        "measured": measured,
        "predicted": [float(np.sqrt(p.dimension / (num_clients * m))) for m in samples],
    }


def needed_series(key: Key, seed: int, num_clients: int, p: SampleComplexityParameters) -> dict[str, Any]:
    """Panel "needed": the N m at which the ratio is the stated contraction, against d, for one N."""
    needed = []
    for dimension in p.dimensions:
        draw = key.fold("d", dimension)
        samples = [max(p.fewest_samples, round(share * dimension / num_clients)) for share in p.over]
        ratios = [ratio(draw.fold("m", m), num_clients, m, dimension, p.instances) for m in samples]
        # Interpolation wants increasing abscissae, and the ratio falls with m but for its noise.
        fall = np.maximum.accumulate(-np.log(ratios))
        pools = np.log(np.array(samples, dtype=float) * num_clients)
        needed.append(float(np.exp(np.interp(-np.log(p.contraction), fall, pools))))
    fit = slope(np.log(np.array(p.dimensions, dtype=float)), np.log(np.array(needed)))
    return series_of("needed", seed) | {
        "num_clients": num_clients,
        "dimensions": list(p.dimensions),
        "measured": needed,
        "predicted": [dimension / p.contraction**2 for dimension in p.dimensions],
        "slope": fit.estimate,
    }


def experiment(seed: int, quick: bool, progress: Progress) -> dict[str, Any]:
    """The experiment on sample complexity, ready for JSON.

    Every series has ``panel``, ``algorithm``, ``local_update``, ``seed``, ``num_clients``, ``measured`` and ``predicted``.

    - "ratio": ``samples`` (m); measured is the ratio, predicted sqrt(d/(N m)).
    - "needed": ``dimensions``; measured is the N m for the stated contraction, predicted d over its square, and
      ``slope`` the fitted slope of log measured in log d.

    Example:
        >>> record = experiment(0, True, lambda share: None)
        >>> sorted({series["panel"] for series in record["series"]})
        ['needed', 'ratio']
    """
    p = QUICK if quick else SampleComplexityParameters()
    series, total = [], p.num_seeds * len(p.clients)
    for number in range(p.num_seeds):
        for index, num_clients in enumerate(p.clients):
            key = Key(seed).fold("theory", "sample-complexity", "draw", number, "N", num_clients)
            series.append(ratio_series(key.fold("ratio"), number, num_clients, p))
            series.append(needed_series(key.fold("needed"), number, num_clients, p))
            progress((number * len(p.clients) + index + 1) / total)
    names = ("clients", "pools", "dimensions", "over")
    lists = {name: list(getattr(p, name)) for name in names}
    return {"parameters": asdict(p) | lists | {"kappa": KAPPA, "gradient_factor": 2}, "series": series}
