r"""A share s of RoLoRA iterations among FFA-LoRA's: the error still falls exponentially, s times as fast.

**Statement.** In the population the angle after T iterations of which a share s > 0 trains A satisfies
:math:`\frac{1}{T}\log\frac{\delta_T}{\delta_0} \to s\,\log|1 - f\kappa|` near a*, while FFA-LoRA (s = 0) stays at delta_0:
the product's error is below FFA-LoRA's by the factor :math:`|1 - f\kappa|^{sT}`, so any s > 0 is far above the floor in the end.
At s = 0.2, f kappa = 0.5 and T = 100 it is 1e-6 of it.

**Assumptions.** S_i = I, equal b_i*, exact b-steps, delta_0 small; s T an integer. By construction.

**Direction.** Tight.

**Source.** Derived here; arXiv 2502.01755v4, Figure 5: 20 % RoLoRA is already far above FFA-LoRA, as quoted elsewhere.

**Derivation.** The claims ``mixture-counts-a-rounds`` and ``local-ratio``: s T factors of :math:`|1 - f\kappa|`, each but for the
relative :math:`(f\kappa + f^2\kappa^2/2)\,\delta^2/|1 - f\kappa|`.

**Control.** The share left out: the rate of RoLoRA alone.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds, subspace_distance
from theory.linear.geometry import start_at
from theory.linear.schedules import mixture
from theory.verification.claim import EPS, Instances, Statement, equal

DELTA0, DIMENSION, FACTOR, ITERATIONS = 1e-3, 5, 2, 30
KAPPAS, TRAINED = (0.05, 0.15, 0.25), (0, 3, 6, 15)


def check(key: Key, with_share: bool = True) -> Instances:
    """Shares of 0, 10, 20 and 50 per cent, three steps."""
    a_star, b_star = np.eye(DIMENSION)[None, :, :1], key.fold("b*").generator().standard_normal((1, 1, 1, 3))
    data = planted(isotropic(1, 1, DIMENSION), a_star, b_star, FACTOR)
    a0 = start_at(key.fold("a0"), a_star[0, :, 0], DELTA0)[None, :, None]
    start = Layer(A=a0, B=np.zeros((1, 1, 3)))
    for kappa in KAPPAS:
        step = FACTOR * kappa
        training = LocalTraining(kappa / float(np.sum(b_star**2)))
        for trained in TRAINED:
            order = key.fold("order", trained).generator().permutation(np.arange(ITERATIONS) < trained)
            *_, layer = rounds(data, mixture(order.tolist()), start, training, 2 * ITERATIONS, retracted=True)
            delta = float(subspace_distance(layer.A, a_star)[0])
            share = trained / ITERATIONS if with_share else 1.0
            # Rounding of delta at both ends, and the terms of size delta^2 of every step.
            left_out = trained * (step + step**2 / 2) * DELTA0**2 / (1 - step) + 2 * EPS * DIMENSION / delta
            where = f"s={trained / ITERATIONS:.1f}, kappa={kappa}: log delta an iteration"
            measured = np.log(delta / DELTA0) / ITERATIONS
            yield equal(measured, share * np.log(1 - step), left_out / ITERATIONS, where)


def control(key: Key) -> Instances:
    """Without the share."""
    return check(key, with_share=False)


CLAIM = Statement(
    source="derived here, for the mixtures of arXiv 2502.01755v4, Figure 5, with the exact b-step",
    kind="rate",
    statement="population, a share s of iterations trains A: log delta falls by s |log|1 - f kappa|| an iteration; s = 0 stays",
    convention="loss (1/m)||.||^2, gradient factor 2 (f kappa is what matters)",
)
