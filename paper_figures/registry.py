"""The registry of figures and tables: find them by the names of their files, in the order of the report."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from paper_figures import figures, tables
from paper_figures.analysis.entry import Entry
from rolora.errors import InputError, one_of

ORDER = (
    "fig_linear", "fig_contraction", "fig_sample_complexity", "fig_nonlinear", "fig_learning_rates",
    "fig_nonlinear_mnist", "fig_nonlinear_mnist_rates", "fig_finetuning", "fig_communication", "fig_methods",
    "fig_interference", "tab_methods", "tab_conformance", "tab_conformance_foreign", "fig_engines", "fig_profile",
    "tab_engines", "tab_gpu_speed", "tab_gpu_memory", "tab_claims", "tab_finetuning", "tab_learning_rates",
    "tab_paper_table1", "fig_budgets", "fig_interference_layers", "fig_encoder_tasks", "fig_dolly",
    "fig_label_skew", "fig_participation", "fig_ranks", "fig_layer_budgets", "fig_schedules", "fig_rate_ratios",
    "fig_local_steps", "tab_open_questions", "fig_confound", "fig_movement", "tab_confound", "tab_encoder_tasks",
    "tab_dolly", "tab_benchmarks", "tab_counterparts", "tab_paper_arithmetic", "tab_paper_label_skew",
    "tab_paper_local_steps", "tab_paper_commonsense", "tab_paper_generation", "tab_paper_ranks",
    "tab_paper_message_size", "tab_paper_uplink", "tab_paper_deberta", "tab_paper_quantised",
)  # fmt: skip
"""The order of the report; a file that is not named here comes last."""


def ids() -> list[str]:
    """Return the ids of all figures and tables: the modules ``fig_...`` and ``tab_...`` of their two folders.

    Example:
        >>> ids()[0]
        'fig_linear'
    """
    names = [
        module.name
        for folder, prefix in ((figures, "fig_"), (tables, "tab_"))
        for module in pkgutil.iter_modules(folder.__path__)
        if module.name.startswith(prefix)
    ]
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def load(name: str) -> Entry:
    """Return the entry that a file declares; no other figure or table is imported.

    Raises:
        InputError: the file declares no ENTRY with its own name.
    """
    folder = "figures" if name.startswith("fig_") else "tables"
    entry = getattr(importlib.import_module(f"paper_figures.{folder}.{name}"), "ENTRY", None)
    if not isinstance(entry, Entry) or entry.id != name:
        declared = f"the id {entry.id!r}" if isinstance(entry, Entry) else "no ENTRY"
        raise InputError(f"paper_figures/{folder}/{name}.py: got {declared}, expected an ENTRY with the id {name!r}")
    return entry


def select(names: Iterable[str] = ()) -> list[Entry]:
    """Return the entries with these ids, in the order given; without an id, all of them.

    Raises:
        InputError: there is no such id.

    Example:
        >>> [entry.id for entry in select(["fig_linear"])]
        ['fig_linear']
    """
    known, wanted = ids(), list(names)
    for name in wanted:
        if name not in known:
            raise InputError(key="ID", got=name, expected=one_of(name, known))
    return [load(name) for name in wanted or known]
