"""Runs along one setting that varies: put into panels that may be compared, and drawn with interval and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.run_table import PARTITION, Run, run_table, varying
from paper_figures.drawing.style import (
    METHODS,
    count_note,
    furnish,
    grid,
    in_order,
    letter,
    method_style,
    share_heights,
    within,
)

OWN = frozenset({"training.learning_rate"})
"""Config keys that never set two panels apart: a method's own rate."""

COLUMNS = 3
"""Panels beside each other."""

CLIENT_STATES = {"isolated": "isolated clients", "shared": "clients share one model", "chained": "chained clients"}


@dataclass(frozen=True)
class Axis:
    """The setting that varies.

    Args:
        keys: the config keys that it accounts for; whatever else varies sets panels apart.
        place: where a run stands; runs are ordered by it.
        label: what stands below it.
        title: of the axis.
        line: what sets several lines of one method apart; mostly nothing.
    """

    keys: frozenset[str]
    place: Callable[[Run], Any]
    label: Callable[[Run], str]
    title: str
    line: Callable[[Run], str] = lambda run: ""


@dataclass(frozen=True)
class Panel:
    """Runs that differ in method, seed and the axis alone.

    Args:
        title: task and number of clients, and what sets this panel apart.
        lines: (method, line) -> place -> runs by seed.
        labels: place -> label.
    """

    title: str
    lines: dict[tuple[str, str], dict[Any, list[Run]]]
    labels: dict[Any, str]

    @property
    def any_run(self) -> Run:
        """One of the runs, for what all of them have in common."""
        return next(iter(next(iter(self.lines.values())).values()))[0]

    @property
    def places(self) -> list[Any]:
        """All places, in order."""
        return sorted(self.labels)


def panels(records: Sequence[Run], axis: Axis, least: int = 2) -> list[Panel]:
    """All panels with enough places.

    Args:
        records: runs; those that chose a learning rate are left out.
        axis: what varies.
        least: how many places make a panel.

    Raises:
        InputError: two runs have the same setting, method and seed.
    """
    made = []
    table = run_table(
        outcomes.on_test(records),
        task=outcomes.task,
        model=lambda run: run["model"]["name"],
        line=axis.line,
        label=axis.label,
    )
    for (task, _), comparable in table.groupby(["task", "model"]) if len(table) else ():
        names = varying(comparable, OWN | axis.keys)
        words = [
            tuple(_words(name, value) for name, value in zip(names, values, strict=True))
            for values in comparable[names].itertuples(index=False)
        ]
        for setting in sorted(set(words)):
            rows = comparable[[one == setting for one in words]]
            divided = rows[PARTITION].iloc[0]
            common = [] if divided == "IID" or PARTITION in (*axis.keys, *names) else [divided]
            made.append(_panel(", ".join((task, *common, *setting)), rows, axis))
    return [panel for panel in made if len(panel.labels) >= least]


def by_budget(records: Sequence[Run], axis: Axis, budgets: dict[str, Callable[[Run], int]]) -> list[Panel]:
    """Panels of runs that have the same budget in one of several senses; a run can be in several of them.

    Args:
        records: runs.
        axis: what varies; it has to account for what the budgets are made of.
        budgets: its name in a title -> its size for a run.
    """
    return [
        replace(panel, title=f"{panel.title}, {amount:,} {name}")
        for name, size in budgets.items()
        for amount, rows in (run_table(records, size=size).groupby("size") if records else ())
        for panel in panels(list(rows["run"]), axis)
    ]


def _words(key: str, found: Any) -> str:
    if key == PARTITION:
        return found
    if key == "federation.num_clients":
        return f"{found} clients"
    if key == "federation.rounds":
        return f"{found} rounds"
    if key == "federation.client_state":
        return CLIENT_STATES.get(found, f"{found} clients")
    return f"{key.rpartition('.')[2].replace('_', ' ')} {'none' if found is None else found}"


def _panel(title: str, rows: pd.DataFrame, axis: Axis) -> Panel:
    lines: dict[tuple[str, str], dict[Any, list[Run]]] = {}
    for (method, line, _), group in rows.groupby(["algorithm", "line", "label"]):
        runs = outcomes.by_seed(list(group["run"]))
        lines.setdefault((method, line), {})[axis.place(runs[0])] = runs
    order = in_order(name for name, _ in lines)
    return Panel(
        title,
        {
            key: {place: lines[key][place] for place in sorted(lines[key])}
            for key in sorted(lines, key=lambda key: (order.index(key[0]), key[1]))
        },
        {axis.place(run): axis.label(run) for run in rows["run"]},
    )


def figure(found: Sequence[Panel], axis: Axis, title: str, note: str) -> Figure:
    """The final metric of every panel against the axis, with the interval over seeds.

    Args:
        found: the panels.
        axis: what varies.
        title: what is asked; the model's name is put before it.
        note: what a reader has to know beside model, data, seeds and interval.
    """

    def one(ax: Axes, panel: Panel) -> dict[str, Any]:
        ax.set_xlabel(axis.title)
        ax.set_ylabel(f"test {outcomes.metric(panel.any_run)}")
        return draw(ax, panel)

    return laid_out(found, one, 2.9, title, f"{words(found, axis.keys)} {note}")


def laid_out(
    found: Sequence[Panel], one: Callable[[Axes, Panel], dict[str, Any]], height: float, title: str, note: str
) -> Figure:
    """All panels in rows, of one scale where they show one thing, with one legend.

    Args:
        found: the panels.
        one: draws a panel, and returns label -> handle for the legend.
        height: of a row, in inches.
        title: what is asked; the model's name is put before it.
        note: what stands below.
    """
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    result, axes = grid(rows, columns, height=height * rows, width=7.2 if columns > 1 else 6.0)
    handles: dict[str, Any] = {}
    for index, (ax, panel) in enumerate(zip(axes.flat, found, strict=False)):
        handles |= one(ax, panel)
        letter(ax, index, wrapped(panel.title, 58 // columns))
    _share_heights(axes.flat, found)
    for ax in axes.flat[len(found) :]:
        ax.remove()
    models = outcomes.models([panel.any_run for panel in found])
    return furnish(result, f"{models}: {title}", note, in_legend(handles))


def draw(ax: Axes, panel: Panel) -> dict[str, Any]:
    """The panel's lines with an error bar at every place, side by side where they would lie on each other.

    Returns:
        Label -> handle for the legend, the constant answer's line among them where the record knows it.
    """
    handles: dict[str, Any] = {}
    places = panel.places
    for number, ((name, line), runs) in enumerate(panel.lines.items()):
        look = method_style(name)
        label = f"{look.label}, {line}" if line else look.label
        shift = 0.018 * len(places) * (number - (len(panel.lines) - 1) / 2)
        means = [outcomes.mean(several) for several in runs.values()]
        handles[label] = ax.errorbar(
            [places.index(place) + shift for place in runs],
            [one.mean for one in means],
            yerr=[one.half_width or 0.0 for one in means],
            color=look.color,
            marker=look.marker or ".",
            linestyle=look.linestyle if not line else ("-", "--", ":", "-.")[number % 4],
            markerfacecolor="white" if line and number % 2 else look.color,
            capsize=2.5,
            elinewidth=1,
            label=label,
        )
    handles |= majority_class(ax, panel)
    within(ax, outcomes.metric(panel.any_run))
    ax.set_xticks(range(len(places)), [panel.labels[place] for place in places])
    ax.grid(axis="x", visible=False)
    return handles


def majority_class(ax: Axes, panel: Panel) -> dict[str, Any]:
    """The constant answer's line, and its handle, where accuracy is drawn and the record knows it."""
    majority = panel.any_run["data"].get("majority_rate")
    if majority is None or outcomes.metric(panel.any_run) != "accuracy":
        return {}
    return {
        "majority-class baseline": ax.axhline(
            majority, color="#777777", linestyle="--", linewidth=1, label="majority-class baseline"
        )
    }


def _share_heights(axes: Iterable[Axes], found: Sequence[Panel]) -> None:
    """One scale for all panels of one task and metric, so that heights may be compared."""
    together: dict[tuple[str, str], list[Axes]] = {}
    for ax, panel in zip(axes, found, strict=False):
        together.setdefault((outcomes.task(panel.any_run), outcomes.metric(panel.any_run)), []).append(ax)
    for several in together.values():
        share_heights(several)


def in_legend(handles: dict[str, Any]) -> list[Any]:
    """Methods in the order of all legends, whichever panel has them first, and what is no method after them.

    Example:
        >>> in_legend({"RoLoRA": 3, "majority-class baseline": 4, "FedAvg-LoRA": 1, "RoLoRA, B 0.01": 2})
        [1, 3, 2, 4]
    """
    labels = [look.label for look in METHODS.values()]

    def place(label: str) -> int:
        method = label.partition(",")[0]
        return labels.index(method) if method in labels else len(labels)

    return [handles[label] for label in sorted(handles, key=place)]


def words(found: Sequence[Panel], varies: frozenset[str] = frozenset()) -> str:
    """Model, data, scale, seeds and interval of all panels, for the note; what varies is left out."""
    counts = [len(runs) for panel in found for line in panel.lines.values() for runs in line.values()]
    described = described_runs([panel.any_run for panel in found], varies)
    return f"{described}. Points: {count_note(counts).replace('band', 'bars')}."


def described_run(run: Run, varies: frozenset[str] = frozenset()) -> str:
    """Model, data and scale of a run, but for what varies."""
    return described_runs([run], varies)


def described_runs(runs: Sequence[Run], varies: frozenset[str] = frozenset()) -> str:
    """Model, data and scale of several runs: what all have in common is said once.

    Args:
        runs: at least one.
        varies: config keys that are left out.
    """
    models = dict.fromkeys(
        f"{run['model']['name']} ({run['model']['parameters'] / 1e6:.1f} M parameters)" for run in runs
    )
    data = dict.fromkeys(map(_data, runs))
    scales = dict.fromkeys(_scale(run, varies) for run in runs)
    if len(models) == len(scales) == 1:
        return f"{next(iter(models))}, {', '.join(data)}; {next(iter(scales))}"
    return "; ".join(dict.fromkeys(described_runs([run], varies) for run in runs))


def _data(run: Run) -> str:
    """The task's name where a file stands for it, else the data's own, and how many texts there are."""
    data = run["data"]
    name = (
        outcomes.task(run)
        if PurePath(data["name"]).suffix or run["config"].get("data", {}).get("benchmark")
        else data["name"]
    )
    return f"{name}: {data['train']:,} training, {data['test']:,} test texts"


def _scale(run: Run, varies: frozenset[str]) -> str:
    config = run["config"]
    federation, training = config["federation"], config["training"]
    parts = {
        "federation.num_clients": f"{federation['num_clients']} clients",
        "federation.rounds": f"{federation['rounds']} rounds",
        "lora.rank": f"LoRA rank {config['lora']['rank']}",
        "training.optimizer": training["optimizer"],
        "training.local_steps": (
            f"{training['local_steps']} local step{'s' * (training['local_steps'] > 1)} of batch {training['batch_size']}"
        ),
    }
    return ", ".join(text for key, text in parts.items() if key not in varies)


def wrapped(text: str, width: int) -> str:
    """A title broken into lines, so that it stays over its own panel."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
