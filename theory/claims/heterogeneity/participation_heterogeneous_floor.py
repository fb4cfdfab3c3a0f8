r"""With n of N clients a round and different heads, the direction still converges, and the product has a floor.

**Statement.** In the population, with n of the N clients drawn uniformly without replacement in every round, a tends to a*
exactly, while the product after a B-round keeps the error

.. math::
    E\,\|a\bar b_P^T - a^*\bar b^{*T}\|_F^2 \to V\,\frac{N - n}{n(N - 1)} = \frac{N}{N-1}\,V\,\Big(\frac1n - \frac1N\Big).

**Assumptions.** S_i = I and independent uniform draws, by construction. That the heads are near enough for the angle to fall
is measured: the recursion below, on the participants' own heads, must end at rounding; otherwise the model is not counted.

**Direction.** Tight.

**Source.** Derived here; the variance of a sample's mean without replacement is the classical one of survey sampling.

**Derivation.** With participants P and then Q, :math:`\bar b = c\,\bar b_P^*` and the gradient is
:math:`f(a\|\bar b\|^2 - a^*\,\bar b_Q^{*T}\bar b)`: it lies in the plane of a and a*, and

.. math::
    \tan\theta^+ = \tan\theta\,\frac{1 - f\eta c^2\|\bar b_P^*\|^2}
    {1 - f\eta c^2\|\bar b_P^*\|^2 + f\eta\,\bar b_Q^{*T}\bar b_P^*}.

a* is fixed, whoever takes part. There the B-round gives :math:`\bar b_P^*`, the mean of n of the N heads, whose mean square about the
mean of all is :math:`\frac{V}{n}\frac{N - n}{N - 1}`. The sampled heads do not average out over rounds: the exact b-step
forgets the last one.

**Test.** The mean over rounds after the burn-in of error over formula (1 for all N), averaged over models with the same
participants; rounds are independent. Student's interval. Beside it the angle after the burn-in: rounding, carried on by the recursion.

**Control.** Sampling with replacement, V/n.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.local_steps import participation_floor
from theory.linear.rank_r import random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, at_most, equal
from theory.verification.statistics import mean_interval

CLIENTS, DIMENSION, OUTPUTS, MODELS, BURN_IN, ITERATIONS = 6, 4, 3, 12, 150, 600
KAPPA, THETA0 = 0.2, 1.0


def _rounding(means: np.ndarray) -> np.ndarray:
    """The recursion's tangent after every iteration, rounding added each time; from the mean heads of every round."""
    tangents, path = np.full(MODELS, np.tan(THETA0)), []
    for b_mean, a_mean in zip(means[::2], means[1::2], strict=True):
        rest = 1 - 2 * KAPPA * np.sum(b_mean**2, axis=1) / (1 + tangents**2)
        tangents = tangents * np.abs(rest / (rest + 2 * KAPPA * np.sum(a_mean * b_mean, axis=1))) + DIMENSION * EPS
        path.append(tangents)
    return np.stack(path, axis=1)


def check(key: Key, taking_part: tuple[int, ...] = (1, 3, 5), with_replacement: bool = False) -> Instances:
    """One, three and all five clients a round."""
    for n in taking_part:
        draw = key.fold("n", n)
        a_star, b_star = random_factors(draw.fold("truth"), MODELS, DIMENSION, OUTPUTS, [1.0])
        shifts = 0.3 * draw.fold("heads").generator().standard_normal((MODELS, CLIENTS, 1, OUTPUTS))
        shifts -= np.mean(shifts, axis=1, keepdims=True)
        heads = b_star[:, None] + shifts
        stream = draw.fold("participants").generator()
        sets = [stream.choice(CLIENTS, n, replace=False).tolist() for _ in range(2 * (BURN_IN + ITERATIONS))]
        start = Layer(start_at(draw.fold("a0"), a_star, np.ones((1, 1, 1)), np.full((1, 1), THETA0)), b_star)
        ensemble = planted(isotropic(MODELS, CLIENTS, DIMENSION), a_star, heads, 2)
        run = alternate(ensemble, start, LocalTraining(KAPPA), BURN_IN + ITERATIONS, lambda t, sets=sets: sets[t])
        where = f"n={n} of N={CLIENTS}, {ITERATIONS} iterations after {BURN_IN}"
        late = run.a[:, BURN_IN:]
        sines = np.max(subspace_distance(late, np.broadcast_to(a_star[:, None], late.shape)), axis=1)
        left = np.max(_rounding(np.stack([np.mean(heads[:, s, 0], axis=1) for s in sets]))[:, BURN_IN - 1 :], axis=1)
        met = left < 1e-12
        yield from (
            at_most(float(sines[i]), 0.0, float(left[i]), f"sine, {where}", bool(met[i])) for i in range(MODELS)
        )
        products = run.a[met, BURN_IN:-1] @ run.b[met, BURN_IN:]
        errors = np.sum((products - (a_star @ b_star)[met, None]) ** 2, axis=(2, 3))
        variance = np.mean(np.sum(shifts[met] ** 2, axis=(2, 3)), axis=1)
        floors = [value / n if with_replacement else participation_floor(value, n, CLIENTS) for value in variance]
        interval = mean_interval(np.mean(errors / np.asarray(floors)[:, None], axis=0))
        yield equal(interval.estimate, 1.0, interval.half_width, f"error over its formula, {where}")


def control(key: Key) -> Instances:
    """Sampling with replacement."""
    return check(key, (3,), with_replacement=True)


CLAIM = Statement(
    source="derived here; partial participation in Algorithm 2, arXiv 2502.01755v4",
    kind="measurement",
    statement="heads b_i*, population, n of N a round: a tends to a*, E ||a b-bar^T - a* b-bar*^T||^2 to V (N-n)/(n (N-1))",
    convention="loss (1/m)||.||^2, gradient factor 2; the limits do not depend on it",
)
