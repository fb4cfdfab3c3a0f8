"""Studies of the two-layer model: partitions, the grid of learning rates, and the record.

Two studies, by the images they are given:

* The packaged digits: 8 x 8 pixels (d = 64), batch 16, because a client holds about a hundred images. The whole grid of
  learning rates runs at every seed and for all rounds. Numbers from there can be compared with each other, not with the
  paper's.
* Images with a test split of their own, in the first place MNIST with the paper's sizes (d = 784, rank 16, batch 64,
  five local epochs, SGD). The grid runs at one seed for fewer rounds; the rate that validation chose then runs at
  several seeds for all rounds. The IID control and the centralised reference, which settle early, run for fewer.

In both a validation split chooses the learning rate of each method from one common grid, the test split takes no part,
and every run is in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from rolora.algorithms import ALGORITHMS
from rolora.data.partition import by_label, iid
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.keys import Key
from theory.nonlinear import images as image_sources
from theory.nonlinear.images import NUM_CLASSES, Images
from theory.nonlinear.model import HIDDEN, LocalSGD, accuracy, federated_round, initial

METHODS = ("fedavg-lora", "ffa-lora", "rolora")
"""The methods compared; names of ``rolora.algorithms.ALGORITHMS``."""

CENTRALISED = "centralised"
"""The reference: one client that holds all training images and trains both factors."""

Split = dict[str, Int[np.ndarray, "_"]]
"""Name of a split -> indices of its images."""


@dataclass(frozen=True)
class Panel:
    """A partition of the images; ``labels_per_client`` is None for a random (IID) one."""

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
"""The paper's two partitions, a control without skew, and the harder one at a rank whose share of the digits' d is
nearer to the paper's (4/64 against 16/784)."""


@dataclass(frozen=True)
class Settings:
    """Settings common to all runs.

    Args:
        learning_rates: the grid, the same for every method.
        seeds: how many; each has its own split, partition, initial adapter and batches.
        rounds: communication rounds.
        evaluate_every: rounds between evaluations. Odd, so that RoLoRA is measured after A rounds and after B rounds.
        window: the learning rate is chosen, and the final accuracy reported, as a mean over this many last evaluations.
        clip: largest norm of one client's gradient, all trained factors together.
        validation_share: of all images; of the training images where the source has a test split.
        test_share: of all images, where the source has no test split.
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
"""A shortened grid on the packaged digits, to see in seconds that everything works; its numbers mean nothing."""

FULL_SIZE = Settings(
    learning_rates=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    seeds=3, rounds=100, evaluate_every=1, window=4, batch_size=64, clip=1.0, validation_share=0.1, test_share=0.0,
)  # fmt: skip
"""The paper's sizes. The clip and the number of rounds are those of an independent rerun of its experiment."""

CONTROL_ROUNDS = 20
"""Of the IID control and the centralised reference at full size."""

SWEEP_SEEDS, SWEEP_ROUNDS, CONTROL_SWEEP_ROUNDS = 1, 30, 10
"""Of the grid at full size."""

QUICK_FULL_SIZE = replace(FULL_SIZE, learning_rates=(0.1, 1.0), seeds=2, rounds=2, window=1, local_epochs=1)
"""Two short rounds at the paper's sizes; its numbers mean nothing."""

DTYPE = "float32"
"""Of the arithmetic at full size, where float64 would take twice as long."""


def split(key: Key, images: Images, settings: Settings) -> Split:
    """A stratified split: each class gives the same shares to test, validation and training.

    Where the source has a test split, that one is taken, and validation is held out from the rest.
    """
    parts: dict[str, list[np.ndarray]] = {"test": [], "validation": [], "train": []}
    given = images.test is not None
    ours = np.setdiff1d(np.arange(len(images.labels)), images.test) if given else np.arange(len(images.labels))
    for label in range(NUM_CLASSES):
        members = ours[images.labels[ours] == label]
        order = key.fold("split", label).generator().permutation(members)
        num_test = 0 if given else round(settings.test_share * len(members))
        num_validation = round(settings.validation_share * len(members))
        pieces = np.split(order, [num_test, num_test + num_validation])
        for part, piece in zip(parts.values(), pieces, strict=True):
            part.append(piece)
    splits = {name: np.sort(np.concatenate(pieces)) for name, pieces in parts.items()}
    return splits | ({"test": np.sort(images.test)} if given else {})


def divide(
    key: Key, labels: Int[np.ndarray, " n"], train: Int[np.ndarray, " m"], panel: Panel
) -> list[Int[np.ndarray, "_"]]:
    """The indices of the training images that each client holds."""
    stream = key.fold("partition", panel.num_clients, panel.labels_per_client or "iid")
    if panel.labels_per_client is None:
        return [train[part] for part in iid(stream, labels[train], panel.num_clients)]
    return [train[part] for part in by_label(stream, labels[train], panel.num_clients, panel.labels_per_client)]


def train(panel: Panel, method: str, root: Key, images: Images, settings: Settings) -> list[dict[str, Any]]:
    """Every run of one method on one panel: a series for each learning rate and seed, the chosen rate marked.

    The chosen rate has the highest validation accuracy, averaged over seeds and the last evaluations; the test split
    takes no part in the choice.

    Raises:
        InputError: a client holds fewer images than a batch.
    """
    keys = [root.fold("nonlinear", index) for index in range(settings.seeds)]
    splits = [split(key, images, settings) for key in keys]
    pixels = images.pixels
    layer, readout = initial(keys, pixels.shape[1], panel.rank, len(settings.learning_rates), str(pixels.dtype))
    if method == CENTRALISED:
        clients = [[parts["train"]] for parts in splits]
    else:
        clients = [divide(key, images.labels, parts["train"], panel) for key, parts in zip(keys, splits, strict=True)]
    local = LocalSGD(
        images, clients, keys, readout, settings.learning_rates, settings.local_epochs, settings.batch_size,
        settings.clip,
    )  # fmt: skip
    if not local.steps:
        smallest = min(len(part) for parts in clients for part in parts)
        raise InputError(
            f"--images: got {images.name}, of which a client of the panel {panel.name!r} holds {smallest} for training, "
            f"expected at least a batch of {settings.batch_size}"
        )
    algorithm = ALGORITHMS["fedavg-lora" if method == CENTRALISED else method]()
    server, rounds, curves = ServerState({HIDDEN: layer}), [0], {"test": [], "validation": []}
    for name, curve in curves.items():
        curve.append(accuracy(layer, readout, images, [parts[name] for parts in splits]))
    for t in range(settings.rounds):
        server = federated_round(t, server, algorithm, local)
        if (t + 1) % settings.evaluate_every == 0:
            rounds.append(t + 1)
            for name, curve in curves.items():
                curve.append(accuracy(server.layers[HIDDEN], readout, images, [parts[name] for parts in splits]))
    return _series(panel, method, settings, rounds, {name: np.array(curve) for name, curve in curves.items()})


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
            **{f"{name}_accuracy": np.round(curve[:, index, seed], 5).tolist() for name, curve in curves.items()},
        }
        for index, rate in enumerate(settings.learning_rates)
        for seed in range(settings.seeds)
    ]


def sweep_then_train(panel: Panel, method: str, root: Key, images: Images, settings: Settings) -> list[dict[str, Any]]:
    """The grid at few seeds and rounds (stage "sweep"), then the chosen rate at all (stage "final")."""
    control = panel.labels_per_client is None
    short = replace(
        settings,
        seeds=min(SWEEP_SEEDS, settings.seeds),
        rounds=min(CONTROL_SWEEP_ROUNDS if control else SWEEP_ROUNDS, settings.rounds),
    )
    swept = train(panel, method, root, images, short)
    rate = next(run["learning_rate"] for run in swept if run["chosen"])
    final_rounds = min(CONTROL_ROUNDS, settings.rounds) if control else settings.rounds
    final = train(panel, method, root, images, replace(settings, learning_rates=(rate,), rounds=final_rounds))
    return [run | {"stage": "sweep"} for run in swept] + [run | {"stage": "final"} for run in final]


def find_images(source: str) -> Images:
    """The images of a source, as :func:`theory.nonlinear.images.find` takes it, in the arithmetic of their study.

    Raises:
        InputError: there is no such source, or its files are not what their names say.
    """
    return image_sources.find(source, "float64" if source == "digits" else DTYPE)


def experiment(
    seed: int, quick: bool, progress: Callable[[float], None], images: Images | None = None
) -> dict[str, Any]:
    """All panels, methods, learning rates and seeds.

    Args:
        seed: the root of every random stream; the runs' own seeds count from 0 below it.
        quick: a shortened grid that only shows that everything works.
        progress: told the share that is done, from 0 to 1.
        images: what is learnt; the packaged digits by default. A test split of their own selects the study at full size.

    Returns:
        ``{"parameters": ..., "series": [...]}``, JSON-ready; one series a (panel, algorithm, learning rate, seed), and
        a stage where the grid is shorter than the final runs. Images with a test split add ``"experiment"``, the name
        of their kind of record.

    Raises:
        InputError: a client holds fewer images than a batch.
    """
    images = images or find_images("digits")
    packaged = images.test is None
    if packaged:
        settings, panels, run = QUICK if quick else Settings(), PANELS, train
    else:
        settings, panels, run = QUICK_FULL_SIZE if quick else FULL_SIZE, PANELS[:3], sweep_then_train
    tasks = [(panel, method) for panel in panels for method in METHODS] + [(PANELS[2], CENTRALISED)]
    series = []
    for done, (panel, method) in enumerate(tasks):
        progress(done / len(tasks))
        series += run(panel, method, Key(seed), images, settings)
    progress(1.0)
    record = {"parameters": parameters(seed, quick, images, panels, settings), "series": series}
    return record if packaged else record | {"experiment": "nonlinear_mnist"}


def parameters(seed: int, quick: bool, images: Images, panels: Sequence[Panel], settings: Settings) -> dict[str, Any]:
    """Return the record's description of its runs, JSON-ready."""
    common = {
        "model": "ReLU(x A B) W_out, W_out fixed and random, A and B Gaussian",
        "data": images.name,
        "paper_data": "60,000 handwritten digits of 28 x 28 pixels, batch 64",
        "d": images.pixels.shape[1],
        "split_sizes": {
            name: len(part) for name, part in split(Key(seed).fold("nonlinear", 0), images, settings).items()
        },
        "optimizer": "SGD, cross-entropy",
        "quick": quick,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()},
        "panels": [asdict(panel) for panel in panels],
        "selection": f"validation accuracy, mean over seeds and the last {settings.window} evaluations",
    }
    if images.test is None:
        return common
    return common | {
        "initialisation": "Gaussian, variance one over the number of inputs: A 1/d, B 1/r (not zero), W_out 1/d (fixed)",
        "dtype": str(images.pixels.dtype),
        "control_rounds": min(CONTROL_ROUNDS, settings.rounds),
        "sweep": {
            "seeds": min(SWEEP_SEEDS, settings.seeds),
            "rounds": min(SWEEP_ROUNDS, settings.rounds),
            "control_rounds": min(CONTROL_SWEEP_ROUNDS, settings.rounds),
        },
        "images_sha256": images.digest,
        "selection": f"validation accuracy of the sweep, mean over its last {settings.window} evaluations",
    }
