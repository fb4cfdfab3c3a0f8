"""Find the task, if any, that a config names; ``rolora/data/tasks`` holds them, one file each."""

from __future__ import annotations

import importlib
import pkgutil

from rolora.config import DataConfig
from rolora.data import tasks
from rolora.data.tasks.base import KnownTask
from rolora.data.tasks.glue import TASKS as GLUE
from rolora.errors import InputError, one_of


def _by_name() -> dict[str, KnownTask]:
    found: dict[str, KnownTask] = {}
    for module in pkgutil.iter_modules(tasks.__path__):
        for name, task in getattr(importlib.import_module(f"{tasks.__name__}.{module.name}"), "TASKS", {}).items():
            if not isinstance(task, KnownTask) or name in found:
                raise TypeError(f"{tasks.__name__}.{module.name}: {name!r} is no KnownTask, or its name is taken")
            found[name] = task
    return found


BENCHMARKS: dict[str, KnownTask] = _by_name()
"""Values of ``data.benchmark``."""

PREFIX = "glue/"
NAMES = tuple(PREFIX + name for name in GLUE)
"""The hub names that need no ``data.benchmark``."""


def outputs(config: DataConfig) -> int | None:
    """Return the number of a head's outputs, if the config alone determines it: the benchmark's labels, or one number.

    Raises:
        InputError: as :func:`name_of`.

    Example:
        >>> outputs(DataConfig(name="glue/mnli", validation_examples=25, test_examples=1))
        3
    """
    name = name_of(config)
    if name is not None:
        return BENCHMARKS[name].outputs
    return 1 if config.task == "regression" else None


def name_of(config: DataConfig) -> str | None:
    """The benchmark that a config names, by ``data.benchmark`` or by a hub name ``glue/...``; None if it names none.

    Raises:
        InputError: there is none by that name, or ``data.task`` is not its task.

    Example:
        >>> name_of(DataConfig(name="glue/rte", validation_examples=25, test_examples=1))
        'rte'
        >>> name_of(DataConfig(name="rows.csv", validation_examples=25, test_examples=1)) is None
        True
    """
    name, field, prefix = config.benchmark, "benchmark", ""
    if name is None:
        if not config.name.startswith(PREFIX):
            return None
        name, field, prefix = config.name.removeprefix(PREFIX), "name", PREFIX
    known = GLUE if prefix else BENCHMARKS
    if name not in known:
        raise InputError(
            f"data.{field}: got {prefix}{name}, expected {f'{prefix} and ' if prefix else ''}{one_of(name, known, prefix)}"
        )
    task = known[name].task
    if config.task != task:
        raise InputError(f'data.task: got "{config.task}" with {prefix}{name}, expected "{task}"')
    return name
