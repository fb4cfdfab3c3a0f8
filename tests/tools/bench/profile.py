"""``python -m tests.tools.bench.profile``: where the time of a client's step goes, by engine and kind of operation.

Matrix products are told apart by their shapes: one with a dimension of the adapter's rank is the adapter's, one with a
dimension of the number of labels is the head's, all others are the backbone's. The sizes are such that nothing else has
these dimensions. What no operation accounts for is Python between operations.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function

from rolora import config as configuration
from rolora import records
from rolora.cli.errors import one_line_errors
from rolora.models import peft_boundary
from rolora.training import local_update
from rolora.training.engines import batched
from rolora.training.engines.stacked_adapters import Stack
from rolora.training.engines.stacked_optimizers import StackedOptimizer
from tests.tools.bench import common, engines
from tests.tools.bench.__main__ import JOBS, WHOLE, job
from tests.tools.bench.child import ENGINES

KINDS = (
    "backbone products", "adapter products", "head products", "attention", "normalisation and activation", "optimiser",
    "data and padding", "state in and out", "other operations", "between operations",
)  # fmt: skip
"""In the order in which a stacked bar shows them."""

SPOTS = (
    (torch.optim.AdamW, "step", "optimiser"),
    (StackedOptimizer, "step", "optimiser"),
    (StackedOptimizer, "clip", "optimiser"),
    (local_update, "pad", "data and padding"),
    (batched, "pad", "data and padding"),
    (peft_boundary, "write", "state in and out"),
    (peft_boundary, "read", "state in and out"),
    (Stack, "load", "state in and out"),
    (Stack, "read", "state in and out"),
)
"""Functions whose operations count as a kind whatever they are."""

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
ATTENTION = ("scaled_dot_product", "softmax")
ELEMENTWISE = ("layer_norm", "gelu", "tanh", "silu", "rms_norm", "native_batch_norm")


def kind_of(name: str, shapes: list[list[int]], rank: int, labels: int) -> str:
    """The kind of one operation by its name and the shapes of its arguments.

    Example:
        >>> kind_of("aten::mm", [[256, 384], [384, 4]], 4, 2), kind_of("aten::addmm", [[384], [256, 384], [384, 384]], 4, 2)
        ('adapter products', 'backbone products')
    """
    if name in PRODUCTS:
        # The leading axis of a batched product counts clients or heads; it says nothing about what is multiplied.
        dimensions = {size for shape in shapes for size in shape[-2:]}
        return (
            "adapter products"
            if rank in dimensions
            else "head products"
            if labels in dimensions
            else "backbone products"
        )
    if any(word in name for word in ATTENTION):
        return "attention"
    if any(word in name for word in ELEMENTWISE):
        return "normalisation and activation"
    return "other operations"


@contextmanager
def spots() -> Iterator[None]:
    """Within it the functions of :data:`SPOTS` leave their kind's name in the profile."""
    with ExitStack() as stack:
        for owner, name, kind in SPOTS:
            stack.enter_context(mock.patch.object(owner, name, _named(getattr(owner, name), kind)))
        yield


def _named(function: Any, kind: str) -> Any:
    def named(*arguments: Any, **options: Any) -> Any:
        with record_function(kind):
            return function(*arguments, **options)

    return named


def measure(table: dict[str, Any]) -> dict[str, Any]:
    """One round of a config's engine under the profiler, and once without it.

    Returns:
        ``seconds`` by kind, ``wall`` (their sum, under the profiler), ``unprofiled`` (the same round without), all in seconds
        for one local step, and ``operations``, the ten that took longest.
    """
    config = configuration.check(table, "profile")
    setup = engines.exact(config)
    engine, server = engines.engine_of(setup), peft_boundary.read(setup.model, head=True)
    steps = config.federation.rounds * config.federation.num_clients * config.training.local_steps
    engines.federated(engine, config, setup.key, server)  # warms up
    started = time.perf_counter()
    engines.federated(engine, config, setup.key, server)
    unprofiled = time.perf_counter() - started
    with spots(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        started = time.perf_counter()
        engines.federated(engine, config, setup.key, server)
        wall = time.perf_counter() - started
    seconds = dict.fromkeys(KINDS, 0.0)
    for event in profiler.events():
        if event.name in KINDS:
            continue  # a spot's own time is Python
        kind = _spot(event) or kind_of(event.name, event.input_shapes, config.lora.rank, len(setup.data.label_names))
        seconds[kind] += event.self_cpu_time_total / 1e6
    seconds["between operations"] = wall - sum(seconds.values())
    longest = sorted(profiler.key_averages(), key=lambda one: one.self_cpu_time_total, reverse=True)
    return {
        "config": config.resolved(),
        "client_steps": steps,
        "seconds": {kind: value / steps for kind, value in seconds.items()},
        "wall": wall / steps,
        "unprofiled": unprofiled / steps,
        "operations": [
            {"name": one.key, "calls": one.count, "seconds": one.self_cpu_time_total / 1e6 / steps}
            for one in longest[:10]
        ],
    }


def _spot(event: Any) -> str | None:
    """The innermost spot that an operation ran in."""
    while event is not None:
        if event.name in KINDS:
            return event.name
        event = event.cpu_parent
    return None


def main() -> int:
    """Profile the engines, print the table, write the record."""
    parser = common.parser("tests.tools.bench.profile", __doc__)
    parser.add_argument("--layers", choices=tuple(JOBS), default="all", help="which layers have adapters")
    parser.add_argument("--engines", nargs="+", choices=tuple(ENGINES), default=list(WHOLE))
    parser.add_argument("--clients", type=int, default=20, metavar="N")
    parser.add_argument("--local-steps", type=int, default=2, metavar="N")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    arguments = parser.parse_args()
    record: dict[str, Any] = common.head("tests.tools.bench.profile") | {"kinds": list(KINDS), "engines": {}}
    with one_line_errors(arguments.debug):
        for name in arguments.engines:
            sizes = {"clients": arguments.clients, "rounds": 1, "local_steps": arguments.local_steps}
            table = job(JOBS[arguments.layers][1], "fedavg-lora", **sizes)
            table["runtime"] |= ENGINES[name] | {"threads": arguments.threads}
            record["engines"][name] = measure(table)
        common.console.print(by_kind(record["engines"]))
        if arguments.json is not None:
            records.write_json(arguments.json, record)
    return 0


def by_kind(found: dict[str, dict[str, Any]]) -> Table:
    """Milliseconds a local step, and their share, by kind."""
    table = common.table("milliseconds a local step under the profiler", "kind", *found)
    for kind in KINDS:
        cells = ((one["seconds"][kind], one["wall"]) for one in found.values())
        table.add_row(kind, *(f"{1e3 * value:.2f} ({value / wall:4.0%})" for value, wall in cells))
    table.add_row("all", *(f"{1e3 * one['wall']:.2f}" for one in found.values()))
    table.add_row("without the profiler", *(f"{1e3 * one['unprofiled']:.2f}" for one in found.values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
