"""Adapters to aggregators that packages offer, as examples of how to examine one's own.

    python -m rolora conformance --against rolora.conformance.foreign:flower_fedavg
    python -m rolora conformance --against rolora.conformance.foreign:chorus_fedex

The packages are not dependencies of this project: install the one to be examined beside it. Tested with flwr 1.42.0 and
chorus-fl 0.1.0 (of both, the aggregation alone is imported).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from rolora.conformance.probe import MODULES, Adapter, Aggregated
from rolora.conformance.subjects import Subject
from rolora.errors import InputError


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"conformance: {module} cannot be imported, expected an installed {package}; {error}"
        ) from None


def _flower(clients: Sequence[Adapter], weights: Sequence[float], server: Adapter, t: int) -> Aggregated:
    """Flower's FedAvg over the tensors of PEFT's state dict, in the dict's order."""
    aggregate = _imported("flwr.server.strategy.aggregate", "flwr").aggregate
    names = list(server.state)
    results = [
        ([client.state[name].numpy() for name in names], round(weight))
        for client, weight in zip(clients, weights, strict=True)
    ]
    means = [torch.as_tensor(mean) for mean in aggregate(results)]
    return Aggregated(replace(server, state=dict(zip(names, means, strict=True))))


flower_fedavg = Subject(
    name="flwr 1.42.0, FedAvg",
    aggregate=_flower,
    exactness="interference",
    mixed_ranks="a mean of factors needs factors of one rank",
    dtypes=("float64", "float32"),  # it takes NumPy arrays, which have no bfloat16
)
"""Flower's weighted mean, declared as what it is: FedAvg of both factors."""


def _chorus(strategy: str) -> Any:
    def aggregate(clients: Sequence[Adapter], weights: Sequence[float], server: Adapter, t: int) -> Aggregated:
        chosen = _imported("chorus.server.aggregation", "chorus-fl").STRATEGIES[strategy]()
        state = chosen.aggregate([dict(client.state) for client in clients], [float(weight) for weight in weights])
        backbone = {}
        for layer, residual in getattr(chosen, "get_residuals", dict)().items():
            (name,) = (module for module in MODULES if module in layer)
            # The package leaves scale and orientation of the residual to the user; this is the user who gets them right.
            update = server.scale * residual.to(server.state[f"base_model.model.{name}.lora_A.weight"].dtype)
            backbone[name] = update.T if name == "conv" else update
        return Aggregated(replace(server, state=state), backbone)

    return aggregate


chorus_fedex = Subject(
    name="chorus-fl 0.1.0, fedex-lora",
    aggregate=_chorus("fedex-lora"),
    exactness="exact",
    working="float32",
)
"""chorus-fl's "exact" aggregation, with its residual folded into the backbone at the right scale."""

chorus_fedavg = Subject(
    name="chorus-fl 0.1.0, fedavg",
    aggregate=_chorus("fedavg"),
    exactness="interference",
    mixed_ranks="a mean of factors needs factors of one rank",
    working="float32",
)
"""chorus-fl's mean of both factors."""
