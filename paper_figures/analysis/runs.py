"""Accessors for run records: task name, primary metric, final value, curves, costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import numpy as np

from paper_figures.analysis import run_table
from paper_figures.analysis.run_table import Run
from paper_figures.records.sources import STUDIES, Records
from rolora.config.layer_budgets import task_of
from rolora.errors import InputError
from rolora.evaluation import selection
from rolora.evaluation.intervals import MeanInterval, student

TASKS = {
    "sst2": "SST-2",
    "qnli": "QNLI",
    "mnli": "MNLI",
    "qqp": "QQP",
    "rte": "RTE",
    "cola": "CoLA",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "trec": "TREC",
    "rottentomatoes": "Rotten Tomatoes",
    "databricksdolly15k": "Dolly",
}
"""Name in a config, without its punctuation -> name in print."""

UNSET = {
    "training": {"learning_rate", "learning_rate_a"},
    "evaluation": {"every", "batch_size", "interference"},
}
"""Section of a config -> keys that do not make another setting."""

KINDS = ("finetuning", "methods", *(kind for kind in STUDIES if kind != "rate_ratios"))
"""Kinds of record that are runs measured on test text at a rate that was chosen for them."""


def task(run: Run) -> str:
    """The task of a run as a reader knows it: the benchmark's name, or that of the data.

    Example:
        >>> task({"config": {"data": {"name": "glue/sst2"}}}), task({"config": {"data": {"name": "rows.csv", "benchmark": "rte"}}})
        ('SST-2', 'RTE')
    """
    data = run["config"].get("data", {})
    name = data.get("benchmark") or data.get("name") or run["data"]["name"]
    if data.get("label_column") == "category" and data.get("task") == "generation":
        return TASKS["databricksdolly15k"]  # its own columns, whatever the file is called
    return TASKS.get(task_of(name), PurePath(name).name)


def metric(run: Run) -> str:
    """The name of the metric that counts: the first that was measured."""
    return selection.primary(run["final"])


def value(run: Run) -> float:
    """Return the final value of the primary metric, on the text that the record ends with.

    Where rounds are selected, that is the selected round on test text; the measurements of its rounds are on validation text.
    """
    return run["final"][metric(run)]


def values(runs: Iterable[Run]) -> dict[int, float]:
    """Return seed -> what the run came to."""
    return {run["seed"]: value(run) for run in runs}


def on_test(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that end with a measurement on test text; the others chose a learning rate."""
    return [run for run in runs if run["config"]["evaluation"].get("split", "test") == "test"]


def everything(records: Records) -> list[Run]:
    """Every run of every kind that was measured on test text; of the same experiment in two kinds, the first."""
    distinct: dict[str, Run] = {}
    for kind in KINDS:
        for run in on_test(records[kind]):
            distinct.setdefault(f"{setting(run)} {run['config']['training']['learning_rate']} {run['seed']}", run)
    return list(distinct.values())


def setting(run: Run) -> str:
    """Return the setting of a run: its config without seed, learning rates, and how it was executed and watched."""
    config = {name: part for name, part in run["config"].items() if name not in ("seed", "runtime")}
    for section, left_out in UNSET.items():
        config[section] = {name: value for name, value in config[section].items() if name not in left_out}
    return json.dumps(config, sort_keys=True)


def by_seed(runs: Sequence[Run]) -> list[Run]:
    """The runs of one setting in the order of their seeds, at one learning rate.

    Where every rate was run on test text, for selection on test data, the rate that is best on validation text counts.

    Raises:
        InputError: two runs are the same but for their rate, and nothing chooses between them.
    """
    table = run_table.run_table(runs, rate=_rates)
    rates = {rate: list(rows["run"]) for rate, rows in table.groupby("rate", sort=False)}
    chosen = next(iter(rates.values()))
    if len(rates) > 1 and len({run["seed"] for run in runs}) < len(runs):
        if not all("selection" in run for run in runs):
            raise InputError(
                f"{runs[0]['name']} and others of its setting: got the rates {', '.join(sorted(rates))} on test "
                "text and no validation metric to choose by, expected one rate, or evaluation.select"
            )
        chosen = max(rates.values(), key=_goodness)
    elif len(rates) > 1:
        chosen = list(runs)
    return run_table.by_seed(chosen)


def _rates(run: Run) -> str:
    training = run["config"]["training"]
    return f"{training['learning_rate']} {training.get('learning_rate_a') or training['learning_rate']}"


def _goodness(runs: Sequence[Run]) -> float:
    name = metric(runs[0])
    return float(np.mean([selection.goodness(name, run["selection"]["validation"][name]) for run in runs]))


def mean(runs: Sequence[Run], name: str | None = None) -> MeanInterval:
    """The mean over seeds with half the width of Student's 95 % interval.

    Args:
        runs: of one setting.
        name: of the metric; the one that counts if None.

    Raises:
        InputError: the runs are not of one metric.
    """
    names = {name or metric(run) for run in runs}
    if len(names) > 1:
        raise InputError(f"{runs[0]['name']}: got runs with the metrics {sorted(names)} in one mean, expected one")
    return student([run["final"][next(iter(names))] for run in runs])


def percent(runs: Sequence[Run], name: str | None = None) -> str:
    """The mean over seeds in per cent with its interval and the number of seeds; a loss as it is.

    Args:
        runs: of one setting.
        name: of the metric; the one that counts if None.

    Example:
        >>> percent([{"name": "one", "final": {"accuracy": 0.7512}}])
        '75.1 (1 seed)'
    """
    found, scale = mean(runs, name), 1 if (name or metric(runs[0])) in selection.LOWER_IS_BETTER else 100
    half = None if found.half_width is None else scale * found.half_width
    seeds = f"({found.n} seed{'s' * (found.n > 1)})"
    return f"{MeanInterval(scale * found.mean, half, found.n).text(1 if scale == 100 else 3)} {seeds}"


def curve(run: Run) -> tuple[list[int], list[float], str]:
    """Rounds, the metric that counts after each, and the split that it was measured on.

    Where the round is selected, a record's rounds are measured on validation text, or on test text too.
    """
    evaluation = run["config"]["evaluation"]
    select, name = evaluation.get("select", "last"), metric(run)
    kind = selection.TEST_EVALUATION if select == "test" else "evaluation"
    split = "validation" if select == "validation" else evaluation.get("split", "test")
    first = run.get("initial_evaluation") if select != "test" else None
    points = [(0, first[name])] if first else []
    points += [(entry["round"] + 1, entry[kind][name]) for entry in run["rounds"] if entry.get(kind)]
    return [done for done, _ in points], [found for _, found in points], split


def curves(runs: Sequence[Run]) -> tuple[list[int], list[list[float]], str]:
    """The curves of one method's seeds at the rounds that all of them have measured, and the split.

    Raises:
        InputError: the runs were measured on different splits.
    """
    found = [curve(run) for run in runs]
    if len({split for _, _, split in found}) > 1:
        raise InputError(
            f"{runs[0]['name']}: got curves on validation and on test text in one mean, expected one split"
        )
    points = [dict(zip(done, values, strict=True)) for done, values, _ in found]
    common = sorted(set.intersection(*(set(one) for one in points)))
    return common, [[one[done] for done in common] for one in points], found[0][2]


def total_local_steps(run: Run) -> list[int]:
    """The local steps of all clients together after 0, 1, 2 ... rounds."""
    steps = run["config"]["training"]["local_steps"]
    return [0, *np.cumsum([steps * len(entry["clients"]) for entry in run["rounds"]]).tolist()]


def megabytes(run: Run) -> list[float]:
    """All bytes sent, up and down, newcomers included, after 0, 1, 2 ... rounds, in millions."""
    sent = [
        sum(sum(entry[name].values()) for name in ("bytes_up", "bytes_down", "bytes_joining"))
        for entry in run["rounds"]
    ]
    return [0.0, *(np.cumsum(sent) / 1e6).tolist()]


def scale(run: Run) -> str:
    """Model, rounds and steps of a run in a few words.

    Returns:
        Such as "all-MiniLM-L6-v2 (22.7 M), 15 rounds x 3 steps of 8, adamw".
    """
    config, model = run["config"], run["model"]
    training = config["training"]
    words = [
        f"{model['name']} ({model['parameters'] / 1e6:.1f} M)",
        f"{config['federation']['rounds']} rounds × {training['local_steps']} steps of {training['batch_size']}",
        training["optimizer"],
    ]
    quantised = config.get("model", {}).get("quantization", "none")
    words += [quantised] if quantised != "none" else []
    words += ["random weights"] if config.get("model", {}).get("weights") == "random" else []
    return ", ".join(words)


def models(runs: Sequence[Run]) -> str:
    """The model of some runs, for a title; where there are several, the note has to name them.

    Example:
        >>> models([{"model": {"name": "b"}}]), models([{"model": {"name": "a"}}, {"model": {"name": "b"}}])
        ('b', '2 models')
    """
    names = {run["model"]["name"] for run in runs}
    return names.pop() if len(names) == 1 else f"{len(names)} models"
