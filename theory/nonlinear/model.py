r"""The two-layer model :math:`f(x) = \mathrm{ReLU}(x A B) W_\mathrm{out}`: gradients, local update, round.

The model is that of arXiv 2502.01755, section 4.2 (Figure 2). Two choices that it forces:

* B does not start at zero. ReLU has slope 0 at 0 here, so with B = 0 every hidden unit is off and both gradients vanish
  for ever (claim ``nonlinear-zero-start``). Language models may start at B = 0 because their backbone carries the
  signal.
* The norm of each gradient is clipped, which keeps the rates that diverge finite. Each record says where.

Learning rates, seeds and the clients of a round run at once on leading axes of the factors, in this order; the
algorithms, the check of what a client sends and the aggregate are those that fine-tune language models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.federation import ClientUpdate, ServerState, aggregate, check_update
from rolora.federation.communication import Message
from rolora.keys import Key
from theory.nonlinear.images import NUM_CLASSES, Images

HIDDEN = "hidden"
"""The name of the one adapted layer."""

BLOCK = 2000
"""Images that are evaluated at once; bounds the memory."""

STACK = 2**20
"""Bytes of activations of the clients that train in one stacked update; more of them would leave the cache."""


def gradients(
    layer: Layer,
    readout: Float[np.ndarray, "*replicas k classes"],
    pixels: Float[np.ndarray, "*images n d"],
    targets: Float[np.ndarray, "*images n classes"],
    trainable: frozenset[str],
) -> tuple[Float[np.ndarray, "..."], dict[str, Float[np.ndarray, "..."]]]:
    r"""The mean cross-entropy and its gradient with respect to the trainable factors.

    With :math:`h = \mathrm{ReLU}(x A B)`, p = softmax(h W_out) and one-hot targets y,

    .. math::
        G = \big[(p - y) W_\mathrm{out}^\top\big] \odot 1[x A B > 0] / n, \qquad
        \nabla_B = (x A)^\top G, \qquad \nabla_A = x^\top G B^\top

    Args:
        layer: A and B; leading axes are independent replicas.
        readout: W_out, fixed.
        pixels: x; its leading axes broadcast against the replicas.
        targets: y, one-hot.
        trainable: which gradients to return.

    Returns:
        The loss of each replica, and factor -> gradient.
    """
    hidden, active, projected = _forward(layer, pixels)
    logits = hidden @ readout
    logits -= logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(logits)
    sums = exponentials.sum(axis=-1, keepdims=True)
    loss = np.asarray((np.log(sums[..., 0]) - (logits * targets).sum(axis=-1)).mean(axis=-1))
    signal = ((exponentials / sums - targets) / pixels.shape[-2]) @ np.swapaxes(readout, -1, -2)
    signal *= active
    result = {}
    if "B" in trainable:
        result["B"] = np.swapaxes(projected, -1, -2) @ signal
    if "A" in trainable:
        result["A"] = np.swapaxes(pixels, -1, -2) @ (signal @ np.swapaxes(layer.B, -1, -2))
    return loss, result


def _forward(
    layer: Layer, pixels: Float[np.ndarray, "*images n d"]
) -> tuple[Float[np.ndarray, "..."], Bool[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    projected = pixels @ layer.A
    hidden = projected @ layer.B
    active = hidden > 0
    hidden *= active
    return hidden, active, projected


@dataclass(frozen=True)
class LocalSGD:
    """A client's local update: epochs of clipped SGD over its own images, for all learning rates and seeds at once.

    In each epoch every client takes the same number of full batches, as many as the smallest client can fill; the few
    images left over differ from epoch to epoch.

    Args:
        images: common to the seeds; their dtype is that of the arithmetic.
        clients: seed -> client -> indices of its images.
        keys: one a seed; neither the algorithm nor the learning rate is in them, so comparisons are paired.
        readout: W_out, (seeds, k, classes).
        learning_rates: on the first axis of the factors.
        local_epochs: passes over the client's images in a round.
        batch_size: images a step.
        clip: largest norm of one client's gradient, all trained factors together.
    """

    images: Images
    clients: Sequence[Sequence[np.ndarray]]
    keys: Sequence[Key]
    readout: np.ndarray
    learning_rates: Sequence[float]
    local_epochs: int
    batch_size: int
    clip: float

    @property
    def num_clients(self) -> int:
        """N."""
        return len(self.clients[0])

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same for every client and seed."""
        return min(len(part) for parts in self.clients for part in parts) // self.batch_size

    def __call__(self, t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
        """Train one client from the broadcast and return the trained factors: the specification of :meth:`together`."""
        batches = ((pixels[:, 0], targets[:, 0]) for pixels, targets in self.batches(t, [client]))
        layer, loss = self._fit(broadcast.layers[HIDDEN], self.readout, batches, trainable)
        factors = {factor: {HIDDEN: getattr(layer, factor)} for factor in trainable}
        return ClientUpdate(client, t, weight=1.0, message=Message(factors), loss=float(loss.mean()))

    def together(self, t: int, broadcast: ServerState, trainable: frozenset[str]) -> list[ClientUpdate]:
        """Train all clients from the broadcast, many in one stacked update, and return one view a client.

        Every matrix product has the sizes that it has for one client alone, so both ways give the same bits.
        """
        sent = broadcast.layers[HIDDEN]
        client_bytes = sent.A[..., 0, 0].size * self.batch_size * sent.B.shape[-1] * sent.B.itemsize
        size = max(1, STACK // client_bytes)
        updates = []
        for first in range(0, self.num_clients, size):
            clients = range(first, min(first + size, self.num_clients))
            layer = Layer(*(np.repeat(factor[:, :, None], len(clients), axis=2) for factor in (sent.A, sent.B)))
            trained, loss = self._fit(layer, self.readout[:, None], self.batches(t, clients), trainable)
            for index, client in enumerate(clients):
                factors = {factor: {HIDDEN: getattr(trained, factor)[:, :, index]} for factor in trainable}
                mean = float(loss[:, :, index].mean())
                updates.append(ClientUpdate(client, t, weight=1.0, message=Message(factors), loss=mean))
        return updates

    def _fit(
        self,
        layer: Layer,
        readout: np.ndarray,
        batches: Iterator[tuple[np.ndarray, np.ndarray]],
        trainable: frozenset[str],
    ) -> tuple[Layer, Float[np.ndarray, "..."]]:
        """The layer after a step on every batch, and the mean loss of each replica."""
        rates = np.reshape(self.learning_rates, (-1, *[1] * (layer.A.ndim - 1))).astype(layer.A.dtype)
        smallest = np.finfo(layer.A.dtype).tiny
        losses = []
        for pixels, targets in batches:
            loss, slopes = gradients(layer, readout, pixels, targets, trainable)
            square = sum((slope**2).sum(axis=(-2, -1), keepdims=True) for slope in slopes.values())
            step = rates * np.minimum(1.0, self.clip / np.sqrt(np.maximum(square, smallest)))
            layer = replace(layer, **{name: getattr(layer, name) - step * slope for name, slope in slopes.items()})
            losses.append(loss)
        return layer, np.mean(losses, axis=0)

    def batches(self, t: int, clients: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pixels (seeds, clients, batch, d) and one-hot targets (seeds, clients, batch, classes) of a local update."""
        streams = [[key.fold("client", c, "round", t, "batches").generator() for c in clients] for key in self.keys]
        classes = np.eye(NUM_CLASSES, dtype=self.images.pixels.dtype)
        used = self.steps * self.batch_size
        for _ in range(self.local_epochs):
            orders = np.array(
                [
                    [stream.permutation(held[c])[:used] for c, stream in zip(clients, row, strict=True)]
                    for held, row in zip(self.clients, streams, strict=True)
                ]
            )
            for start in range(0, used, self.batch_size):
                batch = orders[..., start : start + self.batch_size]
                yield self.images.pixels[batch], classes[self.images.labels[batch]]


def federated_round(t: int, server: ServerState, algorithm: Algorithm, local: LocalSGD) -> ServerState:
    """One communication round with all clients: broadcast, stacked local update, check, aggregate.

    Raises:
        UpdateError: if a client's update is malformed or not finite.
    """
    trainable = algorithm.trainable(t)
    layers = {name: algorithm.broadcast(t, layer, layer.rank) for name, layer in server.layers.items()}
    broadcast = replace(server, layers=layers)
    updates = local.together(t, broadcast, trainable)
    for client, update in enumerate(updates):
        check_update(update, t, client, broadcast, algorithm)
    return aggregate(t, server, algorithm, updates)


def initial(
    keys: Sequence[Key], d: int, rank: int, num_rates: int, dtype: str = "float64"
) -> tuple[Layer, Float[np.ndarray, "seeds d classes"]]:
    """The first adapter, (rates, seeds, ...), and W_out: Gaussian, variance one over the number of inputs.

    Args:
        keys: one a seed.
        d: pixels of an image, and hidden units.
        num_rates: copies of the adapter on the first axis.
        dtype: of the result; the numbers are drawn in float64.
    """
    shapes = {"A": (d, rank), "B": (rank, d), "readout": (d, NUM_CLASSES)}
    drawn = {
        name: np.stack([key.fold("initial", rank, name).generator().normal(size=shape) for key in keys])
        / np.sqrt(shape[0])
        for name, shape in shapes.items()
    }
    drawn = {name: array.astype(dtype, copy=False) for name, array in drawn.items()}
    factors = {name: np.repeat(drawn[name][None], num_rates, axis=0) for name in ("A", "B")}
    return Layer(**factors), drawn["readout"]


def accuracy(
    layer: Layer, readout: np.ndarray, images: Images, splits: Sequence[np.ndarray]
) -> Float[np.ndarray, "rates seeds"]:
    """The share of a split's images that each replica labels correctly.

    Args:
        layer: the factors, (rates, seeds, ...).
        readout: W_out, (seeds, k, classes).
        images: all of them.
        splits: seed -> indices of the split's images.
    """
    chosen = np.stack(splits)
    correct = 0
    for start in range(0, chosen.shape[1], BLOCK):
        block = chosen[:, start : start + BLOCK]
        hidden, _, _ = _forward(layer, images.pixels[block])
        correct = correct + ((hidden @ readout).argmax(axis=-1) == images.labels[block]).sum(axis=-1)
    return correct / chosen.shape[1]
