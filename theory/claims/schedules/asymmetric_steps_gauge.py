r"""The split of a scale between A and B is a ratio of step sizes: "balanced" depends on where training starts.

**Statement.** Gradient training from (s A, B / s) with the step sizes :math:`(s^2\eta_A,\ \eta_B / s^2)` has the iterates
(s A^t, B^t / s) of the training from (A, B) with (eta_A, eta_B), for RoLoRA, FedAvg-LoRA and FFA-LoRA, K local steps, any data
and rank. So :math:`\eta_A : \eta_B` means nothing without the scale of the start; :math:`\eta_A\|B\|^2 : \eta_B\|A\|^2` does.

**Assumptions.** Plain gradient steps, no normalisation of A; by construction.

**Direction.** Tight: to the last bit where s is a power of two, otherwise to rounding.

**Source.** Derived here; the subject is that of arXiv 2502.01755v4, Figure 6.

**Derivation.** :math:`\nabla_A \ell_i(sA, B/s) = \nabla_A \ell_i(A, B)/s`, so the step :math:`s^2\eta_A\nabla_A/s` is s times the old
one; likewise for B. Averages are linear in the factor.

**Control.** The start rescaled, the step sizes kept.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.schedules import rank_two_example
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

INSTANCES, ROUNDS, STEPS = 4, 12, 2


def check(key: Key, steps_rescaled: bool = True) -> Instances:
    """Three methods, three scales, rank two, noisy labels, different heads."""
    data, normal = rank_two_example(key, INSTANCES)
    a, b = normal.A / np.linalg.norm(normal.A), normal.B / np.linalg.norm(normal.B)
    for method in ("rolora", "fedavg-lora", "ffa-lora"):
        for s in (0.25, 0.7, 3.0):
            one = LocalTraining(0.02, 0.01, STEPS, frozenset())
            square = s**2 if steps_rescaled else 1.0
            other = LocalTraining(0.02 * square, 0.01 / square, STEPS, frozenset())
            layers = rounds(data, ALGORITHMS[method](), Layer(A=a, B=b), one, ROUNDS)
            scaled = rounds(data, ALGORITHMS[method](), Layer(A=s * a, B=b / s), other, ROUNDS)
            for t, (layer, rescaled) in enumerate(zip(layers, scaled, strict=True)):
                size = float(np.linalg.norm(layer.A) + np.linalg.norm(layer.B))
                # One rounding an operation; steps of this size do not amplify it.
                slack = EPS * (data.moments.shape[-1] + data.num_clients) * STEPS * (t + 1) * size
                both = (
                    np.concatenate([f.A.ravel() * w, f.B.ravel() / w]) for f, w in ((rescaled, 1 / s), (layer, 1.0))
                )
                yield equal_arrays(*both, slack, f"{method}, s={s}, round {t}")


def control(key: Key) -> Instances:
    """The step sizes kept."""
    return check(key, steps_rescaled=False)


CLAIM = Statement(
    source="derived here, on the subject of arXiv 2502.01755v4, Figure 6",
    kind="identity",
    statement="from (sA, B/s) with steps (s^2 eta_A, eta_B/s^2) training has the iterates (s A^t, B^t/s)",
    convention="any (checked at gradient factor 2)",
)
