r"""Small layers with increasingly different clients: each method's error in the mean update, layer by layer.

Client i fits its own target by least squares, :math:`\ell_i = \tfrac12 \|A B + R - M_i\|_F^2`, in each layer, with

.. math::
    M_i = M + \sigma_l E_i, \qquad \|M\|_F = 1, \quad \|E_i\|_F \approx 1,

so the clients of the first layer (sigma = 0) want the same and those of the last want different things. Rounds,
broadcast and aggregation are those that fine-tune language models; only the clients' gradient steps are written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer, first_down_projection
from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.federation import ClientUpdate, LocalUpdate, ServerState, run_round
from rolora.federation.communication import Ledger, Message
from rolora.keys import Key

METHODS = tuple(name for name, method in ALGORITHMS.items() if not (method.personal or method.pooled))
"""The methods with one common model that several clients train."""


@dataclass(frozen=True)
class Sizes:
    """Of the toy problem.

    Args:
        dimension: d.
        outputs: k.
        rank: r.
        num_clients: N.
        rounds: communication rounds.
        local_steps: K.
        eta: the step of both factors.
        spreads: layer -> sigma_l.
    """

    dimension: int = 24
    outputs: int = 16
    rank: int = 4
    num_clients: int = 10
    rounds: int = 20
    local_steps: int = 10
    eta: float = 0.2
    spreads: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)

    @property
    def layers(self) -> dict[str, float]:
        """Name -> spread."""
        return {f"spread {spread:g}": spread for spread in self.spreads}


SIZES = Sizes()


def targets(key: Key, sizes: Sizes = SIZES) -> dict[str, Float[Array, "n d k"]]:
    """The clients' targets M_i of each layer; no method and no step is in their streams.

    Example:
        >>> layer_targets = targets(Key(0))["spread 0"]
        >>> layer_targets.shape, bool((layer_targets[0] == layer_targets[9]).all())
        ((10, 24, 16), True)
    """
    shape = (sizes.dimension, sizes.outputs)
    scale = 1 / np.sqrt(sizes.dimension * sizes.outputs)
    layer_targets = {}
    for name, spread in sizes.layers.items():
        stream = key.fold("targets", name)
        common = stream.fold("common").generator().standard_normal(shape)
        common /= np.linalg.norm(common)
        own = [stream.fold("client", i).generator().standard_normal(shape) * scale for i in range(sizes.num_clients)]
        layer_targets[name] = common + spread * np.stack(own)
    return layer_targets


def start(key: Key, sizes: Sizes = SIZES) -> ServerState:
    """The first adapter of each layer, A as in fine-tuning and B zero, in float64."""
    return ServerState(
        {
            name: Layer(
                first_down_projection(key.fold("adapter", name), sizes.dimension, sizes.rank).astype(np.float64),
                np.zeros((sizes.rank, sizes.outputs)),
            )
            for name in sizes.layers
        }
    )


def trained(
    layer: Layer, target: Float[Array, "d k"], factors: frozenset[str], eta: float, local_steps: int, schedule: str = ""
) -> Layer:
    r"""One layer of one client after its gradient steps.

    .. math::
        A \leftarrow A - \eta\, G B^\top, \qquad B \leftarrow B - \eta\, A^\top G, \qquad G = A B + R - M_i

    Args:
        layer: what the client was sent.
        target: M_i.
        factors: which of A and B move.
        schedule: the letters that say which factor step j moves; all of ``factors`` if empty.

    Example:
        >>> step = trained(Layer(np.eye(2), np.zeros((2, 2))), np.eye(2), frozenset("B"), 1.0, 1)
        >>> step.B
        array([[1., 0.],
               [0., 1.]])
    """
    for step in range(local_steps):
        moving = factors & set(schedule[step % len(schedule)]) if schedule else factors
        gradient = layer.update - target
        steps = {"A": gradient @ layer.B.T, "B": layer.A.T @ gradient}
        layer = replace(layer, **{name: getattr(layer, name) - eta * steps[name] for name in sorted(moving)})
    return layer


def local_update(wanted: Mapping[str, Float[Array, "n d k"]], algorithm: Algorithm, sizes: Sizes) -> LocalUpdate:
    """Return the clients' local update; all clients weigh the same."""

    def update(t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
        layers = {
            name: trained(
                layer, wanted[name][client], trainable, sizes.eta, sizes.local_steps, algorithm.local_schedule
            )
            for name, layer in broadcast.layers.items()
        }
        factors = {f: {name: getattr(layer, f) for name, layer in layers.items()} for f in sorted(algorithm.sent(t))}
        gaps = [float(np.sum((layer.update - wanted[name][client]) ** 2)) for name, layer in layers.items()]
        return ClientUpdate(client, t, 1.0, Message(factors), sum(gaps) / 2)

    return update


def lost(
    seed: int = 0, sizes: Sizes = SIZES, progress: Callable[[float], None] = lambda share: None
) -> dict[str, list[dict[str, dict[str, float | None]]]]:
    """Every method on the toy layers.

    Args:
        seed: of targets and first adapter, which all methods share.
        sizes: of the problem.

    Returns:
        Method -> for every round, layer -> "interference" and "missed" (``rolora.federation.interference``).

    Example:
        >>> results = lost(sizes=Sizes(rounds=1, spreads=(1.0,)))
        >>> layer_report = results["fedavg-lora"][0]["spread 1"]
        >>> abs(layer_report["interference"] - layer_report["missed"]) < 1e-12
        True
        >>> results["rolora"][0]["spread 1"]["missed"] < 1e-12
        True
    """
    key = Key(seed).fold("theory", "toy layers")
    wanted, results = targets(key, sizes), {}
    for done, name in enumerate(METHODS):
        progress(done / len(METHODS))
        algorithm, server, ledger, results[name] = ALGORITHMS[name](), start(key, sizes), Ledger(), []
        update = local_update(wanted, algorithm, sizes)
        for t in range(sizes.rounds):
            clients = range(sizes.num_clients)
            server, ledger, report = run_round(t, server, algorithm, clients, update, ledger, key, measure_loss=True)
            results[name].append({layer: dict(layer_report) for layer, layer_report in report.lost.items()})
    progress(1.0)
    return results


def one_round(
    layer: str, trainable: str = "AB", rounds: int = 5, seed: int = 0, sizes: Sizes = SIZES
) -> tuple[Float[Array, "n d r"], Float[Array, "n r k"]]:
    """The clients' factors of one layer after one more local update, from a common adapter that rounds of RoLoRA have moved.

    Args:
        layer: a name in ``sizes.layers``.
        trainable: the letters of the factors that the clients train.
        rounds: of RoLoRA before, so that neither factor is where it began.
        seed: as in :func:`lost`.
        sizes: as in :func:`lost`.

    Example:
        >>> a, b = one_round("spread 1", "B")
        >>> a.shape, b.shape, bool((a[0] == a[9]).all())
        ((10, 24, 4), (10, 4, 16), True)
    """
    key = Key(seed).fold("theory", "toy layers")
    wanted, algorithm, server, ledger = targets(key, sizes), ALGORITHMS["rolora"](), start(key, sizes), Ledger()
    update = local_update(wanted, algorithm, sizes)
    for t in range(rounds):
        server, ledger, _ = run_round(t, server, algorithm, range(sizes.num_clients), update, ledger)
    clients = [
        trained(server.layers[layer], target, frozenset(trainable), sizes.eta, sizes.local_steps)
        for target in wanted[layer]
    ]
    return np.stack([client.A for client in clients]), np.stack([client.B for client in clients])
