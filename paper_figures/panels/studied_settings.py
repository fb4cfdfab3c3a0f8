"""The settings of fine-tuning that a study varies: the axis of each, and its panels of comparable runs."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib.figure import Figure

from paper_figures.analysis import runs
from paper_figures.analysis.run_table import PARTITION_KEYS, Run
from paper_figures.drawing.style import styled
from paper_figures.panels import swept_setting
from paper_figures.panels.swept_setting import Axis, Panel
from paper_figures.records.sources import Records


def _skew(run: Run) -> float:
    federation = run["config"]["federation"]
    if federation["partition"] == "by-label":
        return -100.0 + federation["labels_per_client"]
    return math.log10(federation["dirichlet_alpha"]) if federation["partition"] == "dirichlet" else 100.0


def _skew_label(run: Run) -> str:
    federation = run["config"]["federation"]
    if federation["partition"] == "by-label":
        return f"{federation['labels_per_client']} label" + "s" * (federation["labels_per_client"] > 1)
    return f"{federation['dirichlet_alpha']:g}" if federation["partition"] == "dirichlet" else "IID"


def _participants(run: Run) -> int:
    federation = run["config"]["federation"]
    return federation.get("clients_per_round") or federation["num_clients"]


def _rank(run: Run) -> int:
    return run["config"]["lora"]["rank"]


def _rounds(run: Run) -> int:
    return run["config"]["federation"]["rounds"]


def _matrices(run: Run) -> int:
    return len(run["model"]["adapted_layers"])


def schedule(run: Run) -> str:
    """Return the letters of a schedule: FFA-LoRA's is always B, and a method that trains both factors has none."""
    name = run["config"]["algorithm"]
    if name == "rolora":
        return run["config"].get("method", {}).get("schedule", "BA")
    return "B" if name == "ffa-lora" else ""


def _schedule_place(run: Run) -> tuple[float, int, str]:
    letters = schedule(run)
    return (letters.count("A") / len(letters), len(letters), letters) if letters else (2.0, 0, "")


def _schedule_label(run: Run) -> str:
    letters = schedule(run)
    if not letters:
        return "both"
    share = f"{100 * letters.count('A') / len(letters):.0f} %"
    return f"{letters}\n{share}" if len(letters) <= 4 else f"{len(letters)}\n{share}"


def _rate_ratio(run: Run) -> float:
    training = run["config"]["training"]
    return float(f"{(training.get('learning_rate_a') or training['learning_rate']) / training['learning_rate']:.6g}")


def _local_steps(run: Run) -> int:
    return run["config"]["training"]["local_steps"]


def _total_steps(run: Run) -> int:
    return runs.total_local_steps(run)[-1]


AXES = {
    "label_skew": Axis(PARTITION_KEYS, _skew, _skew_label, "Dirichlet α (left: most skewed)"),
    "participation": Axis(
        frozenset({"federation.clients_per_round", "federation.rounds"}),
        _participants,
        lambda run: f"{_participants(run)} of {run['config']['federation']['num_clients']}",
        "clients in a round",
    ),
    "ranks": Axis(
        frozenset({"lora.rank", "lora.alpha", "federation.rounds"}), _rank, lambda run: str(_rank(run)), "rank"
    ),
    "layer_budgets": Axis(
        frozenset({"lora.layers", "lora.target_modules"}),
        _matrices,
        lambda run: str(_matrices(run)),
        "adapted matrices",
    ),
    "schedules": Axis(
        frozenset({"method.schedule"}), _schedule_place, _schedule_label, "schedule (or its length), share of A"
    ),
    "rate_ratios": Axis(
        frozenset({"training.learning_rate_a"}),
        _rate_ratio,
        lambda run: f"{_rate_ratio(run):.3g}",
        "rate of A / rate of B",
        lambda run: f"B {run['config']['training']['learning_rate']:g}",
    ),
    "local_steps": Axis(
        frozenset({"training.local_steps", "federation.rounds"}),
        _local_steps,
        lambda run: str(_local_steps(run)),
        "local steps a round",
    ),
}
"""Kind of record -> what varies in it."""

BUDGETS: dict[str, dict[str, Callable[[Run], int]]] = {
    "participation": {"rounds": _rounds, "total local steps": _total_steps},
    "ranks": {"rounds": _rounds, "rank × rounds": lambda run: _rounds(run) * _rank(run)},
    "local_steps": {"rounds": _rounds, "total local steps": _total_steps},
}
"""Kind of record -> the senses in which its runs have equal budgets; kinds that are not here have one budget."""


def panels(records: Records, kind: str) -> list[Panel]:
    """Return the panels of a kind of record, one for each budget where there are several."""
    if kind in BUDGETS:
        return swept_setting.by_budget(records[kind], AXES[kind], BUDGETS[kind])
    return swept_setting.panels(records[kind], AXES[kind])


@styled
def figure(records: Records, kind: str, title: str, note: str) -> Figure:
    """Return the final metric of every panel of a kind of record; arguments as in :func:`swept_setting.figure`."""
    return swept_setting.figure(panels(records, kind), AXES[kind], title, note)
