r"""Speed of the batched simulation against plain loops on the same instances.

Four ways to run T iterations of Algorithm 2 on the same ensemble:

* "rounds": the specification, ``theory.linear.rounds``: one instance and one client after the other, every update a
  message that is checked and counted, as in a fine-tuning round;
* "script": the loop over instances and clients that one writes from the algorithm's text, on the data X_i and Y_i;
* "statistics": the tightest such loop: on the S_i, with the labels' truth in closed form;
* "batched": ``theory.linear.ensemble_rounds``: all instances and clients of a block in one array operation, on S_i and C_i.

Data and statistics are there before the clock starts; "statistics_seconds" says what the S_i and C_i take.

Times are the best of several interleaved repeats. The achieved operations a second count only the products that the
statistics force (S_i a twice, C_i b and C_i^T a once); for comparison, a large matrix product and a batch of
matrix-vector products from the cache and from memory are timed in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from rolora.keys import Key
from theory.linear import rounds
from theory.linear.ensemble import Ensemble, stack
from theory.linear.ensemble_rounds import alt_min_gd, block_size
from theory.linear.geometry import normalise, random_unit
from theory.linear.model import LinearModel, heads, sample_inputs, second_moments

KAPPA = 0.25
REPEATS = 3


def script(
    inputs: Float[np.ndarray, "n m d"],
    outputs: Float[np.ndarray, "n m k"],
    a: Float[np.ndarray, "d"],
    eta: float,
    iterations: int,
) -> Float[np.ndarray, "d"]:
    r"""Algorithm 2 on one instance as its text says, client by client, on the data; the loss is (1/m)||.||_F^2.

    Args:
        inputs: X_i.
        outputs: Y_i.
        a: the start.
    """
    clients, samples, _ = inputs.shape
    for _ in range(iterations):
        b = np.zeros(outputs.shape[-1])
        for x, y in zip(inputs, outputs, strict=True):
            features = x @ a
            b += features @ y / (features @ features) / clients
        gradient = np.zeros_like(a)
        for x, y in zip(inputs, outputs, strict=True):
            residual = np.outer(x @ a, b) - y
            gradient += 2 / samples * (x.T @ (residual @ b)) / clients
        a = a - eta * gradient
        a = a / np.linalg.norm(a)
    return a


def bare_loop(model: LinearModel, a: Float[np.ndarray, "d"], eta: float, iterations: int) -> Float[np.ndarray, "d"]:
    """Algorithm 2 on one instance as a plain loop over its clients' statistics, without rounds, messages or checks.

    Args:
        model: the clients, with equal b_i*.
        a: the start.
    """
    b_star, a_star, f = model.b_star[0], model.a_star, model.gradient_factor
    for _ in range(iterations):
        b = np.zeros_like(b_star)
        for moment in model.moments:
            projected = moment @ a
            b += (projected @ a_star) / (projected @ a) * b_star
        b /= model.num_clients
        gradient = np.zeros_like(a)
        direction = a * (b @ b) - a_star * (b_star @ b)
        for moment in model.moments:
            gradient += f * (moment @ direction)
        a = a - eta / model.num_clients * gradient
        a = a / np.sqrt(a @ a)
    return a


def _models(
    seed: int, instances: int, clients: int, samples: int, dimension: int, outputs: int
) -> tuple[list[LinearModel], Float[np.ndarray, "i d"], list[np.ndarray]]:
    """The instances, their starts, and their inputs X_i, (n, m, d) each."""
    models, starts, inputs = [], [], []
    for number in range(instances):
        key = Key(seed).fold("theory", "bench", number)
        b_star = normalise(key.fold("b*").generator().standard_normal(outputs))
        a_star = random_unit(key.fold("a*"), dimension)
        inputs.append(sample_inputs(key.fold("data"), clients, samples, dimension))
        models.append(LinearModel(second_moments(inputs[-1]), a_star, heads(b_star, clients), 2))
        starts.append(random_unit(key.fold("a0"), dimension))
    return models, np.stack(starts), inputs


def _best(*sides: Callable[[], Any]) -> tuple[list[float], list[Any]]:
    """The shortest time of each side over interleaved repeats, and what each returned."""
    times, results = [float("inf")] * len(sides), [None] * len(sides)
    for _ in range(REPEATS):
        for index, side in enumerate(sides):
            start = time.perf_counter()
            results[index] = side()
            times[index] = min(times[index], time.perf_counter() - start)
    return times, results


def machine(dimension: int) -> dict[str, float]:
    """Return this machine's operations a second (matrix product) and bytes a second (matrix-vector products).

    Args:
        dimension: d of the small matrices.

    Returns:
        ``matrix_product_flops`` (1024 x 1024, float64), ``cached_bytes`` and ``streamed_bytes`` (batches of d x d
        matrices times vectors, one megabyte and a hundred).
    """
    stream = Key(0).fold("theory", "bench", "machine").generator()
    square = stream.standard_normal((1024, 1024))
    small, large = (max(1, size // (8 * dimension**2)) for size in (10**6, 10**8))
    cached, streamed = (stream.standard_normal((count, dimension, dimension)) for count in (small, large))
    vectors = stream.standard_normal((large, dimension, 1))
    again = range(large // small)  # as many bytes as the large batch has, from the cache
    (product, fast, slow), _ = _best(
        lambda: square @ square,
        lambda: [cached @ vectors[:small] for _ in again],
        lambda: streamed @ vectors,
    )
    return {
        "matrix_product_flops": 2 * 1024**3 / product,
        "cached_bytes": len(again) * cached.nbytes / fast,
        "streamed_bytes": streamed.nbytes / slow,
    }


def bench(
    seed: int = 0,
    instances: int = 200,
    clients: int = 20,
    dimension: int = 50,
    samples: int = 100,
    outputs: int = 10,
    iterations: int = 10,
) -> dict[str, Any]:
    """All sides on the same instances, and the largest difference of their results.

    Args:
        seed: of truth, data and starts.
        instances: how many independent models.
        clients: N.

    Returns:
        ``seconds`` of each side, ``ratio`` of every loop to the batched side, ``difference`` (largest, absolute, of
        a^T), ``flops`` and ``bytes`` a second of the batched side, and ``machine``.

    Example:
        >>> record = bench(instances=3, clients=2, dimension=4, samples=9, outputs=2, iterations=2)
        >>> record["difference"] < 1e-14, sorted(record["ratio"])
        (True, ['rounds', 'script', 'statistics'])
    """
    models, starts, inputs = _models(seed, instances, clients, samples, dimension, outputs)
    ensemble: Ensemble = stack(models)
    labels = [x @ np.outer(one.a_star, one.b_star[0]) for one, x in zip(models, inputs, strict=True)]

    def by_rounds() -> Float[np.ndarray, "i d"]:
        runs = [rounds.alt_min_gd(one, a, KAPPA, iterations) for one, a in zip(models, starts, strict=True)]
        return np.stack([run.a[-1] for run in runs])

    def by_script() -> Float[np.ndarray, "i d"]:
        return np.stack([script(x, y, a, KAPPA, iterations) for x, y, a in zip(inputs, labels, starts, strict=True)])

    def by_statistics() -> Float[np.ndarray, "i d"]:
        return np.stack([bare_loop(one, a, KAPPA, iterations) for one, a in zip(models, starts, strict=True)])

    def batched() -> Float[np.ndarray, "i d"]:
        return alt_min_gd(ensemble, starts[..., None], KAPPA, iterations).a[:, -1, :, 0]

    def statistics() -> None:
        for x, y in zip(inputs, labels, strict=True):
            second_moments(x), np.swapaxes(x, -1, -2) @ y / samples

    (*loops, together, built), (*expected, batched_end, _) = _best(
        by_rounds, by_script, by_statistics, batched, statistics
    )
    sides = dict(zip(("rounds", "script", "statistics"), loops, strict=True))
    visits = instances * clients * iterations
    return {
        "sizes": {
            "instances": instances,
            "clients": clients,
            "dimension": dimension,
            "samples": samples,
            "outputs": outputs,
            "iterations": iterations,
            "block": block_size(ensemble),
        },
        "seed": seed,
        "seconds": sides | {"batched": together},
        "statistics_seconds": built,
        "ratio": {side: seconds / together for side, seconds in sides.items()},
        "difference": float(max(np.max(np.abs(end - batched_end)) for end in expected)),
        "flops": visits * (4 * dimension**2 + 4 * dimension * outputs) / together,
        "bytes": visits * 8 * (2 * dimension**2 + 2 * dimension * outputs) / together,
        "machine": machine(dimension),
    }
