"""Runs of the linear model that figures are drawn from: pure functions, plain dictionaries out.

Every method starts from the same a^0 on the same clients' data; the method's name is in no stream's path. Rounds are
communication rounds, so one iteration of Algorithm 2 counts as two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.assumptions import alignment_variance, heterogeneity
from theory.linear.bounds import heterogeneous_floor, local_ratio, population_step
from theory.linear.geometry import angle_distance, normalise, random_unit, start_at
from theory.linear.model import LinearModel, sample
from theory.linear.rounds import alt_min_gd, local_update, relative_error, rounds
from theory.verification.statistics import slope

Progress = Callable[[float], None]
"""Called with the share of the work that is done, in [0, 1]."""


@dataclass(frozen=True)
class LinearParameters:
    """The linear experiment's sizes; the field names are those of the record.

    Args:
        num_clients: N.
        samples: m, rows of a client's data.
        dimension: d.
        outputs: k.
        num_rounds: communication rounds of the trajectories.
        local_steps: K, gradient steps a round where a method trains by gradient.
        eta: the step of those; ||b*|| = 1.
        kappa: eta ||b*||^2 of Algorithm 2's single step on a.
        num_seeds: independent draws of truth, data and start.
        kappas: the steps of the local-ratio panel.
        ratio_samples: m of that panel.
        ratio_delta0: its starting angle distance, small: the panel is about the local rate.
        spread: standard deviation of the entries of b_i* about b* in the heterogeneous panel.
    """

    num_clients: int = 20
    samples: int = 50
    dimension: int = 20
    outputs: int = 10
    num_rounds: int = 150
    local_steps: int = 20
    eta: float = 0.01
    kappa: float = 0.25
    num_seeds: int = 5
    kappas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    ratio_samples: int = 2000
    ratio_delta0: float = 1e-2
    spread: float = 0.1
    gradient_factor: int = 2


QUICK = LinearParameters(
    num_clients=4, num_rounds=20, local_steps=5, num_seeds=2, kappas=(0.1, 0.4, 0.8), ratio_samples=1000
)
"""A shortened experiment of the same shape, for tests."""

EXACT = "exact b-step, one gradient step on a"
"""The local update of Algorithm 2 (and of FFA-LoRA at its best)."""


def _draw(key: Key, p: LinearParameters, spread: float = 0.0) -> tuple[LinearModel, Float[Array, "d"]]:
    """Truth, data and start of one seed; ||b*|| = 1, the start uniform on the sphere."""
    a_star = random_unit(key.fold("a*"), p.dimension)
    b_star = normalise(key.fold("b*").generator().standard_normal(p.outputs))
    if spread:
        b_star = b_star + spread * key.fold("heads").generator().standard_normal((p.num_clients, p.outputs))
    model = sample(key.fold("data"), p.num_clients, p.samples, a_star, b_star, 2)
    return model, random_unit(key.fold("a0"), p.dimension)


def trajectory(
    model: LinearModel, a0: Float[Array, "d"], algorithm: str, eta: float, local_steps: int, num_rounds: int
) -> tuple[list[float], list[float]]:
    """Angle distance and relative product error of one method, before round 0 and after every round.

    Args:
        a0: the start; b starts at zero.
        algorithm: a name in ``rolora.algorithms.ALGORITHMS``.
        local_steps: K gradient steps on the trainable factors; 0 is Algorithm 2's local update, the exact b-step and
            one gradient step on a, with a normalised.
    """
    start = Layer(a0[:, None], np.zeros((1, model.b_star.shape[1])))
    update = local_update(model, eta, max(local_steps, 1), exact_b=local_steps == 0)
    run = rounds(model, ALGORITHMS[algorithm](), start, update, num_rounds, retracted=local_steps == 0)
    layers = [start, *(layer for layer, _ in run)]
    angles = [float(angle_distance(layer.A[:, 0], model.a_star)) for layer in layers]
    return angles, [relative_error(layer, model) for layer in layers]


def population_path(theta: float, kappa: float, num_rounds: int) -> list[float]:
    """Return Algorithm 2's angle distance at infinitely many samples (f = 2) after every round from the angle theta."""
    path = []
    for t in range(num_rounds):
        theta = float(population_step(theta, kappa, 2)) if t % 2 else theta
        path.append(abs(float(np.sin(theta))))
    return path


def series_of(panel: str, seed: int | None, algorithm: str = "rolora", local_update: str = EXACT) -> dict[str, Any]:
    """Return the keys that every series of a record has."""
    return {"panel": panel, "algorithm": algorithm, "local_update": local_update, "seed": seed}


def linear_trajectories(key: Key, seed: int, p: LinearParameters) -> list[dict[str, Any]]:
    """Panel "trajectories": the methods on one draw of the homogeneous model.

    FFA-LoRA solves its b-step exactly, its best case. RoLoRA runs twice: as Algorithm 2, and with the K gradient steps
    of eta that FedAvg-LoRA takes, so that neither is compared with a local update of another kind.

    Returns:
        One series a method. ``predicted`` is the angle distance of the population map for Algorithm 2, the constant
        delta_0 for FFA-LoRA, and None where there is no closed form.
    """
    model, a0 = _draw(key, p)
    steps = f"{p.local_steps} gradient steps"
    delta0 = float(angle_distance(a0, model.a_star))
    plan = [
        ("fedavg-lora", steps, p.eta, p.local_steps, None),
        ("ffa-lora", EXACT, p.eta, 0, [delta0] * (p.num_rounds + 1)),
        ("rolora", steps, p.eta, p.local_steps, None),
        ("rolora", EXACT, p.kappa, 0, [delta0, *population_path(float(np.arcsin(delta0)), p.kappa, p.num_rounds)]),
    ]
    series = []
    for algorithm, name, eta, local_steps, predicted in plan:
        angles, errors = trajectory(model, a0, algorithm, eta, local_steps, p.num_rounds)
        curves = {"rounds": list(range(p.num_rounds + 1)), "angle_distance": angles, "relative_error": errors}
        series.append(series_of("trajectories", seed, algorithm, name) | curves | {"predicted": predicted})
    return series


def local_ratios(key: Key, seed: int, p: LinearParameters) -> dict[str, Any]:
    """Panel "local-ratio": Algorithm 2's measured contraction an iteration on finite data, against |1 - 2 kappa|.

    Returns:
        One series: ``kappa``, ``measured`` (exp of the fitted slope of log delta, from ``ratio_delta0`` to 1e-12),
        ``predicted``. They differ by O(sqrt(d/(N m))), and where the prediction is below that by about so much.
    """
    a_star = random_unit(key.fold("a*"), p.dimension)
    model = sample(key.fold("data"), p.num_clients, p.ratio_samples, a_star, np.ones(1), 2)
    a0 = start_at(key.fold("a0"), a_star, p.ratio_delta0)
    measured = []
    for kappa in p.kappas:
        deltas = angle_distance(alt_min_gd(model, a0, kappa, 60).a, a_star)
        # At least three points for a slope, however fast the convergence; beyond 1e-12 rounding would bend it.
        used = deltas[: max(3, int(np.argmax(deltas < 1e-12)) or deltas.shape[0])]
        measured.append(float(np.exp(slope(np.arange(used.shape[0], dtype=float), np.log(used)).estimate)))
    return series_of("local-ratio", seed) | {
        "kappa": list(p.kappas),
        "measured": measured,
        "predicted": [local_ratio(kappa, 2) for kappa in p.kappas],
    }


def heterogeneous_trajectories(key: Key, seed: int, p: LinearParameters) -> list[dict[str, Any]]:
    """Panel "heterogeneous": the same methods where the heads b_i* differ between the clients.

    Args:
        p: the sizes; ``spread`` is the heads'.

    Returns:
        One series a method; the error is relative to a* b-bar*^T. ``predicted`` is the floor of the angle distance on
        fixed data for Algorithm 2 (a root mean square over data), delta_0 for FFA-LoRA, None for FedAvg-LoRA.
        ``heterogeneity`` is V / ||b-bar*||^2.
    """
    model, a0 = _draw(key, p, p.spread)
    length = float(np.linalg.norm(model.b_mean))
    floor = heterogeneous_floor(alignment_variance(model), length, p.dimension, p.num_clients * p.samples)
    plan = [
        ("fedavg-lora", f"{p.local_steps} gradient steps", p.eta, p.local_steps, None),
        ("ffa-lora", EXACT, p.eta, 0, float(angle_distance(a0, model.a_star))),
        ("rolora", EXACT, p.kappa / length**2, 0, floor),
    ]
    series, points = [], p.num_rounds + 1
    for algorithm, name, eta, local_steps, level in plan:
        angles, errors = trajectory(model, a0, algorithm, eta, local_steps, p.num_rounds)
        curves = {"rounds": list(range(points)), "angle_distance": angles, "relative_error": errors}
        predicted = {"predicted": None if level is None else [level] * points}
        spread = {"heterogeneity": heterogeneity(model) / length**2}
        series.append(series_of("heterogeneous", seed, algorithm, name) | curves | predicted | spread)
    return series


def population_curves(p: LinearParameters) -> list[dict[str, Any]]:
    """Panel "population-map": theta+ against theta for every kappa, from the closed form; nothing is simulated.

    Args:
        p: the kappas.

    Returns:
        One series a kappa: ``theta`` and ``predicted`` (theta+), radians in [0, pi/2].
    """
    theta = np.linspace(0, np.pi / 2, 91)
    return [
        series_of("population-map", None)
        | {
            "kappa": kappa,
            "theta": theta.tolist(),
            "predicted": np.asarray(population_step(theta, kappa, 2)).tolist(),
        }
        for kappa in p.kappas
    ]


def experiment(seed: int, quick: bool, progress: Progress) -> dict[str, Any]:
    """The linear experiment, ready for JSON.

    Every series has the keys ``panel``, ``algorithm``, ``local_update`` and ``seed`` (the draw's number, 0 ... S-1; None
    where nothing is random). The panels and their further keys:

    - "trajectories" and "heterogeneous": ``rounds`` (0 is the start), ``angle_distance``, ``relative_error``
      (||A B - a* b-bar*^T||_F / ||b-bar*||), ``predicted`` (an angle distance each round, or None); lists of one length.
      The heterogeneous panel has ``heterogeneity`` too.
    - "local-ratio": ``kappa``, ``measured``, ``predicted``; lists of one length.
    - "population-map": ``kappa`` (a number), ``theta``, ``predicted``; lists of one length.

    Returns:
        ``parameters`` (the fields of ``LinearParameters``) and ``series``. All losses are (1/m)||.||^2.

    Example:
        >>> record = experiment(0, True, lambda share: None)
        >>> sorted({series["panel"] for series in record["series"]})
        ['heterogeneous', 'local-ratio', 'population-map', 'trajectories']
    """
    p = QUICK if quick else LinearParameters()
    series = population_curves(p)
    for number in range(p.num_seeds):
        key = Key(seed).fold("theory", "linear", "draw", number)
        series += linear_trajectories(key.fold("homogeneous"), number, p)
        series += heterogeneous_trajectories(key.fold("heterogeneous"), number, p)
        series.append(local_ratios(key.fold("ratio"), number, p))
        progress((number + 1) / p.num_seeds)
    parameters = asdict(p) | {"kappas": list(p.kappas)}
    return {"parameters": parameters, "series": series}
