r"""A zero up-projection can never be left in the two-layer ReLU model.

**Statement.** In :math:`f(x) = \mathrm{ReLU}(x A B) W_\mathrm{out}` with :math:`\mathrm{ReLU}'(0) = 0`, at B = 0

.. math::
    \nabla_A \ell = 0 \quad\text{and}\quad \nabla_B \ell = 0

for every A, W_out and batch; so a round of FedAvg-LoRA, FFA-LoRA or RoLoRA returns the adapter that it was given.

**Assumptions.** B = 0, and the slope of ReLU at zero is zero; both hold by construction. The loss is the cross-entropy;
any loss of f(x) would do.

**Direction.** Tight: an equation. The gradients are zero without rounding, since only products with zero occur; a round
returns the adapter to the rounding of the server's mean.

**Source.** Derived here. The model is that of arXiv 2502.01755, section 4.2 (as quoted elsewhere); B = 0 is the usual
start of LoRA in language models, where the backbone carries the signal.

**Derivation.** Every pre-activation is x A 0 = 0, so every unit has slope 0 and the signal that comes back,
:math:`G = [(p - y) W_\mathrm{out}^\top] \odot 1[x A B > 0]/n`, is zero. Both gradients are linear in G:
:math:`\nabla_B = (x A)^\top G` and :math:`\nabla_A = x^\top G B^\top`. Without a linear backbone beside the adapter there
is no other path. (With :math:`\mathrm{ReLU}'(0) = 1` the gradient of B would be that of a linear model; A's would vanish
still.)

**Control.** B Gaussian, variance 1/r, as the experiment starts it: both gradients differ from zero, and a round moves.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.federation import ServerState
from rolora.keys import Key
from theory.nonlinear.images import NUM_CLASSES, Images
from theory.nonlinear.model import HIDDEN, LocalSGD, federated_round, gradients, initial
from theory.verification.claim import EPS, Instance, Instances, Statement, equal

SIZES = [(3, 6, 2, 5), (7, 12, 4, 8), (32, 20, 16, 20)]  # images a batch, d, r, hidden units
METHODS, CLIENTS, PER_CLIENT = ("fedavg-lora", "ffa-lora", "rolora"), 3, 8


def _gradient(key: Key, number: int, scale: float) -> list[Instance]:
    n, d, r, k = SIZES[number % len(SIZES)]
    stream = key.generator()
    layer = Layer(stream.standard_normal((d, r)), scale * stream.standard_normal((r, k)) / np.sqrt(r))
    readout, pixels = stream.standard_normal((k, NUM_CLASSES)), stream.standard_normal((n, d))
    targets = np.eye(NUM_CLASSES)[stream.integers(NUM_CLASSES, size=n)]
    _, slopes = gradients(layer, readout, pixels, targets, frozenset("AB"))
    where = f"gradient, n={n}, d={d}, r={r}, k={k}"
    return [equal(float(np.linalg.norm(slope)), 0.0, EPS, f"{where}, {name}") for name, slope in slopes.items()]


def _rounds(key: Key, method: str, scale: float) -> Instance:
    """Compare the distance that two rounds of clipped local SGD move the adapter."""
    stream = key.generator()
    count, d, r = CLIENTS * PER_CLIENT, 12, 4
    images = Images("random", stream.random((count, d)), stream.integers(NUM_CLASSES, size=count))
    layer, readout = initial([key], d, r, 1)
    layer = Layer(layer.A, scale * layer.B)
    clients = [np.array_split(np.arange(count), CLIENTS)]
    local = LocalSGD(images, clients, [key], readout, [0.5], 2, PER_CLIENT, 1.0)
    server = ServerState({HIDDEN: layer})
    for t in range(2):
        server = federated_round(t, server, ALGORITHMS[method](), local)
    after = server.layers[HIDDEN]
    # The server's mean of equal numbers may differ from them by rounding.
    slack = EPS * CLIENTS * float(np.linalg.norm(layer.A))
    moved = np.hypot(np.linalg.norm(after.A - layer.A), np.linalg.norm(after.B - layer.B))
    return equal(float(moved), 0.0, slack, f"two rounds of {method}")


def check(key: Key, scale: float = 0.0) -> Instances:
    """Gradients at 30 random points with B = 0, and two rounds of the three methods from there."""
    yield from (i for number in range(30) for i in _gradient(key.fold("gradient", number), number, scale))
    yield from [_rounds(key.fold("rounds", method), method, scale) for method in METHODS]


def control(key: Key) -> Instances:
    """The same with B Gaussian."""
    return check(key, 1.0)


CLAIM = Statement(
    source="derived here; model of arXiv 2502.01755, section 4.2",
    kind="identity",
    statement="ReLU(x A B) W_out with ReLU'(0) = 0: at B = 0 both gradients vanish, and no method ever moves",
    convention="mean cross-entropy; any loss of the output",
)
