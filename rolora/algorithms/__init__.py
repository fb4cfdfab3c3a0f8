"""Federated LoRA methods, one file each, as three pure functions on one layer; a new file is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean

__all__ = ["ALGORITHMS", "Algorithm", "weighted_mean"]

ORDER = (
    "fedavg-lora", "ffa-lora", "rolora", "flexlora", "flora", "fedex-lora", "fedsa-lora", "fedsvd", "fedrot-lora", "lora-fair",
    "hetlora", "la-lora", "centralised", "local-only",
)  # fmt: skip
"""Order of the methods in lists and tables; others follow by name."""


def _methods() -> Iterator[type[Algorithm]]:
    """Yield the classes that give themselves a name; wrappers of another method have its name."""
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Algorithm) and isinstance(vars(value).get("name"), str):
                yield value


def _by_name() -> dict[str, type[Algorithm]]:
    methods: dict[str, type[Algorithm]] = {}
    for method in _methods():
        if methods.setdefault(method.name, method) is not method:
            raise TypeError(
                f"{method.__module__}: the name {method.name!r} belongs to {methods[method.name].__module__}"
            )
    return dict(
        sorted(methods.items(), key=lambda item: (ORDER.index(item[0]) if item[0] in ORDER else len(ORDER), item[0]))
    )


ALGORITHMS: dict[str, type[Algorithm]] = _by_name()
"""Every method by the name that configs, records and figures use."""
