"""Names for the adapted layers: the papers' budgets, and shares of a model's depth.

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
class LayerSelection:
    """Numbers of layers, and the attention matrices in each by the papers' letters; query and value if None."""

    layers: tuple[int, ...]
    matrices: frozenset[str] | None = None


BUDGETS: Mapping[str, Mapping[str, LayerSelection]] = {
    "budget-1": {
        "sst2": LayerSelection(tuple(range(24))),
        **dict.fromkeys(("qnli", "mnli", "qqp", "rte"), LayerSelection(tuple(range(12, 24)))),
    },
    "budget-2": {
        "sst2": LayerSelection(tuple(range(18, 24))),
        **dict.fromkeys(("qnli", "mnli", "qqp"), LayerSelection(tuple(range(15, 24)))),
        "rte": LayerSelection(tuple(range(16, 24))),
    },
    "budget-3": {
        "sst2": LayerSelection(tuple(range(21, 24)), frozenset("v")),
        **dict.fromkeys(("qnli", "mnli", "qqp", "rte"), LayerSelection(tuple(range(21, 24)))),
    },
}
"""Name -> GLUE task -> adapted layers and matrices (arXiv 2409.02346, Table 5)."""

FIXED: Mapping[str, tuple[int, LayerSelection]] = {
    "llama-commonsense": (32, LayerSelection(tuple(range(26, 32)), frozenset("qkvo"))),
}
"""Name -> (depth, adapted layers and matrices), for all tasks."""

SHARES: Mapping[str, int] = {"upper-half": 2, "upper-third": 3}
"""Name -> the divisor of the depth."""

BUDGET_DEPTH = 24

LAYERS_BY_NAME = (*BUDGETS, *FIXED, *SHARES)
"""The names accepted by ``lora.layers``."""


def select_layers(name: str, depth: int, data_name: str, model_name: str) -> LayerSelection:
    """Return the layers of a name of :data:`LAYERS_BY_NAME`.

    Args:
        name: as in ``lora.layers``.
        depth: the model's number of layers.
        data_name: as in ``data.name``; the papers' budgets depend on the task.
        model_name: for the message.

    Raises:
        InputError: if the name does not go with this depth or this task.

    Example:
        >>> select_layers("budget-2", 24, "glue/rte", "roberta-large").layers
        (16, 17, 18, 19, 20, 21, 22, 23)
        >>> select_layers("upper-third", 6, "rotten-tomatoes", "all-MiniLM-L6-v2").layers
        (4, 5)
    """
    if name in SHARES:
        return LayerSelection(tuple(range(depth - max(1, depth // SHARES[name]), depth)))
    expected = BUDGET_DEPTH if name in BUDGETS else FIXED[name][0]
    if depth != expected:
        raise InputError(
            key="lora.layers",
            got=name,
            expected=f"a model of {expected} layers, where {model_name} has {depth}; {' and '.join(SHARES)} suit any depth",
        )
    if name in FIXED:
        return FIXED[name][1]
    tasks = BUDGETS[name]
    task = task_of(data_name)
    if task not in tasks:
        raise InputError(
            key="lora.layers",
            got=name,
            expected=f"{', '.join(tasks)} as data.name (glue/sst2) or as its file or folder, not {data_name!r}",
        )
    return tasks[task]


def task_of(data_name: str) -> str:
    """Return a data set's name without folder, suffix and punctuation.

    Example:
        >>> task_of("glue/sst2"), task_of("data/GLUE/SST-2"), task_of("rte.tsv.gz")
        ('sst2', 'sst2', 'rte')
    """
    return re.sub(r"[^a-z0-9]", "", PurePath(data_name).name.partition(".")[0].lower())
