r"""The share of the signal that a random frozen A captures.

**Statement.** With :math:`A^0` uniform among the d x r matrices with orthonormal columns, FFA-LoRA's best B leaves the
population risk :math:`(1 - \|A^{0T}a^*\|^2)\|b^*\|^2` (gradient factor 2), and :math:`E\|A^{0T}a^*\|^2 = r/d`; at rank 1
:math:`E\delta_0^2 = 1 - 1/d`.

**Assumptions.** A^0 independent of a*: by construction.

**Direction.** Tight: an equation of means.

**Source.** Derived here; the floor of Proposition 4.6, arXiv 2502.01755v4, with its a^0 drawn at random. d = 784, r = 16, as in
the paper's two-layer model, is 2 %.

**Derivation.** The projector :math:`P = A^0A^{0T}` has trace r, and :math:`E P` commutes with every rotation, so
:math:`E P = (r/d) I` and :math:`E\,a^{*T}Pa^* = r/d`. The risk is the squared distance of :math:`a^*b^{*T}` from the matrices
:math:`A^0B`.

**Test.** The captured share of rounds of FFA-LoRA over draws of A^0, and its interval (confidence 0.9999), over r/d.

**Control.** RoLoRA, which moves A: it captures everything.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.verification.claim import Instance, Instances, Statement, equal_mean

SIZES = ((784, 16, 150), (30, 1, 8000), (30, 6, 2000))  # d, r, draws


def _instance(key: Key, method: str, dimension: int, rank: int, draws: int, num_rounds: int) -> Instance:
    # By rotation a* may be any unit vector; one population serves all draws.
    start = Layer(
        np.linalg.qr(key.generator().standard_normal((draws, dimension, rank)))[0], np.zeros((draws, rank, 2))
    )
    a_star, b_star = np.eye(dimension)[:, :1], np.array([[0.6, 0.8]])
    data = planted(isotropic(1, 1, dimension), a_star[None], b_star[None, None], 2)
    *_, last = rounds(data, ALGORITHMS[method](), start, LocalTraining(eta_a=0.25), num_rounds, retracted=True)
    risk = np.sum((last.A @ last.B - a_star @ b_star) ** 2, axis=(1, 2))
    where = f"{method}, d={dimension}, r={rank}, {draws} draws, captured share over r/d"
    return equal_mean((1 - risk) * dimension / rank, 1.0, where)


def check(key: Key) -> Instances:
    """The size of the two-layer model, rank 1 and rank 6."""
    return (_instance(key.fold("size", i), "ffa-lora", *size, num_rounds=1) for i, size in enumerate(SIZES))


def control(key: Key) -> Instances:
    """Sixty rounds of RoLoRA."""
    return [_instance(key, "rolora", 30, 1, 50, num_rounds=61)]


CLAIM = Statement(
    source="derived here; the floor of Proposition 4.6, arXiv 2502.01755v4, for a random start",
    kind="measurement",
    statement="random A^0 of rank r: FFA-LoRA captures the share r/d of the signal on average; E delta_0^2 = 1 - 1/d (measured: ratio)",
    convention="loss (1/m)||.||^2; the share does not depend on it",
)
