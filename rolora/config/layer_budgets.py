"""Which layers are adapted, by name: the papers' budgets, and shares of a model's depth.

Trust: the budgets are those of arXiv 2409.02346, Table 5, for models of 24 layers (RoBERTa-large, DeBERTa-v2-xlarge).
``llama-commonsense`` is recalled from arXiv 2502.01755 (W_q, W_k, W_v, W_o of layers 26 to 31 of Llama-2-7B) and was
confirmed by nothing: **unverified**.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from rolora.errors import InputError


@dataclass(frozen=True)
class Chosen:
    """Numbers of layers, and which of a layer's attention matrices, by the papers' letters; query and value if None."""

    layers: tuple[int, ...]
    matrices: frozenset[str] | None = None


BUDGETS: Mapping[str, Mapping[str, Chosen]] = {
    "budget-1": {
        "sst2": Chosen(tuple(range(24))),
        **dict.fromkeys(("qnli", "mnli", "qqp", "rte"), Chosen(tuple(range(12, 24)))),
    },
    "budget-2": {
        "sst2": Chosen(tuple(range(18, 24))),
        **dict.fromkeys(("qnli", "mnli", "qqp"), Chosen(tuple(range(15, 24)))),
        "rte": Chosen(tuple(range(16, 24))),
    },
    "budget-3": {
        "sst2": Chosen(tuple(range(21, 24)), frozenset("v")),
        **dict.fromkeys(("qnli", "mnli", "qqp", "rte"), Chosen(tuple(range(21, 24)))),
    },
}
"""Name -> GLUE task -> what is adapted (arXiv 2409.02346, Table 5)."""

FIXED: Mapping[str, tuple[int, Chosen]] = {
    "llama-commonsense": (32, Chosen(tuple(range(26, 32)), frozenset("qkvo"))),
}
"""Name -> (depth, what is adapted), whatever the task."""

SHARES: Mapping[str, int] = {"upper-half": 2, "upper-third": 3}
"""Name -> the divisor of the depth."""

BUDGET_DEPTH = 24

LAYERS_BY_NAME = (*BUDGETS, *FIXED, *SHARES)
"""All names that ``lora.layers`` takes."""


def chosen(name: str, depth: int, data_name: str, model_name: str) -> Chosen:
    """The layers of a name of :data:`LAYERS_BY_NAME`.

    Args:
        name: as in ``lora.layers``.
        depth: the model's number of layers.
        data_name: as in ``data.name``; the papers' budgets depend on the task.
        model_name: for the message.

    Raises:
        InputError: if the name does not go with this depth or this task.

    Example:
        >>> chosen("budget-2", 24, "glue/rte", "roberta-large").layers
        (16, 17, 18, 19, 20, 21, 22, 23)
        >>> chosen("upper-third", 6, "rotten-tomatoes", "all-MiniLM-L6-v2").layers
        (4, 5)
    """
    if name in SHARES:
        return Chosen(tuple(range(depth - max(1, depth // SHARES[name]), depth)))
    expected = BUDGET_DEPTH if name in BUDGETS else FIXED[name][0]
    if depth != expected:
        raise InputError(
            f'lora.layers: got "{name}" for {model_name} of {depth} layers, expected a model of {expected}, as the paper\'s; '
            f"{' and '.join(SHARES)} go by depth"
        )
    if name in FIXED:
        return FIXED[name][1]
    tasks = BUDGETS[name]
    task = task_of(data_name)
    if task not in tasks:
        raise InputError(
            f'lora.layers: got "{name}" with data.name = {data_name!r}, expected a task of the paper\'s, '
            f"{', '.join(tasks)}, as data.name (glue/sst2) or as the name of its file or folder"
        )
    return tasks[task]


def task_of(data_name: str) -> str:
    """A data set's name without its place, ending and punctuation.

    Example:
        >>> task_of("glue/sst2"), task_of("data/GLUE/SST-2"), task_of("rte.tsv.gz")
        ('sst2', 'sst2', 'rte')
    """
    return re.sub(r"[^a-z0-9]", "", PurePath(data_name).name.partition(".")[0].lower())
