r"""The two-layer model :math:`f(x) = \mathrm{ReLU}(x A B) W_\mathrm{out}` on small images of handwritten digits.

The model is that of arXiv 2502.01755, section 4.2 (Figure 2). The paper trains it on 60,000 images of 28 x 28 pixels
(d = 784). Here the data are scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels (d = 64). The rank (16),
the five local epochs and plain SGD are the paper's; the batch is 16 instead of 64, because a client holds about a
hundred images and not six thousand. Numbers from here can be compared with each other, not with the paper's.

Two choices that the model forces:

* B does not start at zero. ReLU has slope 0 at 0 here, so with B = 0 every hidden unit is off and both gradients vanish
  for ever. Language models may start at B = 0 because their backbone carries the signal.
* The step sizes are compared, not assumed: each method's learning rate is chosen on a validation split from one common
  grid, and every run of the grid is in the record. The norm of each gradient is clipped at 10, which leaves ordinary
  steps alone and keeps the rates that diverge finite.

All learning rates and seeds run at once on leading axes of the factors; the algorithms, the round and the checks of
``rolora.federation`` are the ones that fine-tune language models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.datasets import load_digits

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.communication import Ledger, Message
from rolora.federation import ClientUpdate, ServerState, run_round
from rolora.keys import Key
from rolora.partition import by_label, iid

METHODS = ("fedavg-lora", "ffa-lora", "rolora")
"""The methods compared; names of ``rolora.algorithms.ALGORITHMS``."""

CENTRALISED = "centralised"
"""The reference: one client that holds all training images and trains both factors."""

NUM_CLASSES = 10
PIXEL_SCALE = 16.0  # the largest grey value in these images


@dataclass(frozen=True)
class Panel:
    """Who holds what. ``labels_per_client`` is None where the images are dealt out at random."""

    name: str
    num_clients: int
    labels_per_client: int | None
    rank: int = 16


PANELS = (
    Panel("5 clients x 2 labels", 5, 2),
    Panel("10 clients x 1 label", 10, 1),
    Panel("10 clients, IID", 10, None),
    Panel("10 clients x 1 label, rank 4", 10, 1, rank=4),
)
"""The paper's two partitions, a control without skew, and the harder one at a rank whose share of d is nearer to the
paper's (4/64 against 16/784)."""


@dataclass(frozen=True)
class Settings:
    """What is common to all runs.

    Args:
        learning_rates: the grid, the same for every method.
        seeds: how many; each has its own split, partition, initial adapter and batches.
        rounds: communication rounds.
        evaluate_every: rounds between evaluations. Odd, so that RoLoRA is measured after A rounds and after B rounds.
        window: the learning rate is chosen, and the final accuracy reported, as a mean over this many last evaluations.
        clip: largest norm of one client's gradient, all trained factors together.
    """

    learning_rates: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
    seeds: int = 5
    rounds: int = 100
    evaluate_every: int = 5
    window: int = 4
    local_epochs: int = 5
    batch_size: int = 16
    clip: float = 10.0
    validation_share: float = 0.2
    test_share: float = 0.2


QUICK = Settings(learning_rates=(0.2, 1.0), seeds=2, rounds=20, evaluate_every=5, window=2)
"""A shortened grid, to see in seconds that everything works; its numbers mean nothing."""


@dataclass(frozen=True)
class Digits:
    """One seed's images: pixels in [0, 1], labels, and the indices of each split."""

    pixels: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]
    splits: dict[str, Int[np.ndarray, " part"]]


def load(key: Key, settings: Settings) -> Digits:
    """The digits with a stratified split: each class gives the same shares to test, validation and training."""
    images = load_digits()
    labels = images.target.astype(np.int64)
    parts: dict[str, list[np.ndarray]] = {"test": [], "validation": [], "train": []}
    for label in range(NUM_CLASSES):
        members = np.flatnonzero(labels == label)
        order = key.fold("split", label).generator().permutation(members)
        num_test = round(settings.test_share * len(members))
        num_validation = round(settings.validation_share * len(members))
        pieces = np.split(order, [num_test, num_test + num_validation])
        for part, piece in zip(parts.values(), pieces, strict=True):
            part.append(piece)
    splits = {name: np.sort(np.concatenate(pieces)) for name, pieces in parts.items()}
    return Digits(images.data / PIXEL_SCALE, labels, splits)


def divide(key: Key, digits: Digits, panel: Panel) -> list[Int[np.ndarray, " part"]]:
    """The indices of the images that each client holds."""
    train = digits.splits["train"]
    stream = key.fold("partition", panel.num_clients, panel.labels_per_client or "iid")
    if panel.labels_per_client is None:
        return [train[part] for part in iid(stream, digits.labels[train], panel.num_clients)]
    parts = by_label(stream, digits.labels[train], panel.num_clients, panel.labels_per_client)
    return [train[part] for part in parts]


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
        digits: one a seed.
        clients: seed -> client -> indices of its images.
        keys: one a seed; neither the algorithm nor the learning rate is in them, so comparisons are paired.
        readout: W_out, (seeds, k, classes).
        settings: learning rates, epochs, batch size, clip.
    """

    digits: Sequence[Digits]
    clients: Sequence[Sequence[np.ndarray]]
    keys: Sequence[Key]
    readout: np.ndarray
    settings: Settings

    def __call__(self, t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
        """Train from the broadcast and return the trained factors."""
        layer = broadcast.layers["hidden"]
        rates = np.reshape(self.settings.learning_rates, (-1, 1, 1, 1))
        losses = []
        for pixels, targets in self.batches(t, client):
            loss, slopes = gradients(layer, self.readout, pixels, targets, trainable)
            square = sum((slope**2).sum(axis=(-2, -1), keepdims=True) for slope in slopes.values())
            step = rates * np.minimum(1.0, self.settings.clip / np.sqrt(np.maximum(square, np.finfo(float).tiny)))
            layer = replace(layer, **{name: getattr(layer, name) - step * slope for name, slope in slopes.items()})
            losses.append(loss.mean())
        factors = {factor: {"hidden": getattr(layer, factor)} for factor in trainable}
        return ClientUpdate(client, t, weight=1.0, message=Message(factors), loss=float(np.mean(losses)))

    def batches(self, t: int, client: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pixels (seeds, batch, d) and one-hot targets (seeds, batch, classes) of one local update."""
        size = self.settings.batch_size
        steps = min(len(part) for parts in self.clients for part in parts) // size
        held = [parts[client] for parts in self.clients]
        streams = [key.fold("client", client, "round", t, "batches").generator() for key in self.keys]
        classes = np.eye(NUM_CLASSES)
        for _ in range(self.settings.local_epochs):
            orders = [stream.permutation(part)[: steps * size] for stream, part in zip(streams, held, strict=True)]
            pixels = np.stack([digits.pixels[order] for digits, order in zip(self.digits, orders, strict=True)])
            labels = np.stack([digits.labels[order] for digits, order in zip(self.digits, orders, strict=True)])
            for start in range(0, steps * size, size):
                yield pixels[:, start : start + size], classes[labels[:, start : start + size]]


def initial(keys: Sequence[Key], rank: int, num_rates: int) -> tuple[Layer, np.ndarray]:
    """The first adapter, (rates, seeds, ...), and W_out: Gaussian, variance one over the number of inputs."""
    d = load_digits().data.shape[1]
    shapes = {"A": (d, rank), "B": (rank, d), "readout": (d, NUM_CLASSES)}
    drawn = {
        name: np.stack([key.fold("initial", rank, name).generator().normal(size=shape) for key in keys])
        / np.sqrt(shape[0])
        for name, shape in shapes.items()
    }
    factors = {name: np.repeat(drawn[name][None], num_rates, axis=0) for name in ("A", "B")}
    return Layer(**factors), drawn["readout"]


def accuracy(
    layer: Layer, readout: np.ndarray, digits: Sequence[Digits], split: str
) -> Float[np.ndarray, "rates seeds"]:
    """The share of one split's images that each replica labels correctly."""
    pixels = np.stack([one.pixels[one.splits[split]] for one in digits])
    labels = np.stack([one.labels[one.splits[split]] for one in digits])
    hidden, _, _ = _forward(layer, pixels)
    return ((hidden @ readout).argmax(axis=-1) == labels).mean(axis=-1)


def train(panel: Panel, method: str, root: Key, settings: Settings) -> list[dict[str, Any]]:
    """Every run of one method on one panel: a series for each learning rate and seed, the chosen rate marked.

    The chosen rate has the highest validation accuracy, averaged over seeds and the last evaluations; the test split
    takes no part in the choice.
    """
    keys = [root.fold("nonlinear", index) for index in range(settings.seeds)]
    digits = [load(key, settings) for key in keys]
    layer, readout = initial(keys, panel.rank, len(settings.learning_rates))
    clients = [divide(key, one, panel) for key, one in zip(keys, digits, strict=True)]
    if method == CENTRALISED:
        clients = [[one.splits["train"]] for one in digits]
    local_sgd = LocalSGD(digits, clients, keys, readout, settings)
    algorithm = ALGORITHMS["fedavg-lora" if method == CENTRALISED else method]()
    server, ledger = ServerState({"hidden": layer}), Ledger()
    rounds, curves = [0], {split: [accuracy(layer, readout, digits, split)] for split in ("test", "validation")}
    for t in range(settings.rounds):
        server, ledger, _ = run_round(t, server, algorithm, range(len(clients[0])), local_sgd, ledger)
        if (t + 1) % settings.evaluate_every == 0:
            rounds.append(t + 1)
            for split, curve in curves.items():
                curve.append(accuracy(server.layers["hidden"], readout, digits, split))
    return _series(panel, method, settings, rounds, {split: np.array(curve) for split, curve in curves.items()})


def _series(
    panel: Panel, method: str, settings: Settings, rounds: list[int], curves: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    best = int(curves["validation"][-settings.window :].mean(axis=(0, 2)).argmax())
    return [
        {
            "panel": CENTRALISED if method == CENTRALISED else panel.name,
            "algorithm": method,
            "learning_rate": rate,
            "chosen": index == best,
            "seed": seed,
            "rounds": rounds,
            **{f"{split}_accuracy": np.round(curve[:, index, seed], 5).tolist() for split, curve in curves.items()},
        }
        for index, rate in enumerate(settings.learning_rates)
        for seed in range(settings.seeds)
    ]


def experiment(seed: int, quick: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    """All panels, methods, learning rates and seeds.

    Args:
        seed: the root of every random stream; the runs' own seeds count from 0 below it.
        quick: a shortened grid that only shows that everything works.
        progress: told the share that is done, from 0 to 1.

    Returns:
        ``{"parameters": ..., "series": [...]}``, JSON-ready; one series a (panel, algorithm, learning rate, seed).
    """
    settings = QUICK if quick else Settings()
    tasks = [(panel, method) for panel in PANELS for method in METHODS] + [(PANELS[2], CENTRALISED)]
    series = []
    for done, (panel, method) in enumerate(tasks):
        progress(done / len(tasks))
        series += train(panel, method, Key(seed), settings)
    progress(1.0)
    return {"parameters": parameters(seed, quick, settings), "series": series}


def parameters(seed: int, quick: bool, settings: Settings) -> dict[str, Any]:
    """What the record says about its runs, JSON-ready."""
    digits = load(Key(seed).fold("nonlinear", 0), settings)
    return {
        "model": "ReLU(x A B) W_out, W_out fixed and random, A and B Gaussian",
        "data": "scikit-learn handwritten digits, 1,797 images of 8 x 8 pixels",
        "paper_data": "60,000 handwritten digits of 28 x 28 pixels, batch 64",
        "d": digits.pixels.shape[1],
        "split_sizes": {name: len(split) for name, split in digits.splits.items()},
        "optimizer": "SGD, cross-entropy",
        "quick": quick,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()},
        "panels": [asdict(panel) for panel in PANELS],
        "selection": f"validation accuracy, mean over seeds and the last {settings.window} evaluations",
    }
