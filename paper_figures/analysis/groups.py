"""Fine-tuning runs put into groups that may be compared: same setting, different method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.run_table import grouped, run_table, varying
from paper_figures.drawing.style import in_order
from rolora.evaluation.intervals import MeanInterval, student

EXPLAINED = {
    "federation.num_clients",
    "federation.rounds",
    "federation.partition",
    "federation.client_state",
    "training.learning_rate",
}
"""Config keys that a group's own fields account for; any other key that varies becomes part of the group's title.

The learning rate is a method's own: it is chosen for each method and number of clients, and tables name it."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in method and seed alone.

    Args:
        num_clients: N.
        rounds: of every run.
        partition: in words.
        client_state: "isolated", or "shared" or "chained" where clients of a round train one model in turn.
        variant: what sets this group apart among all records, beside the fields above; mostly empty.
        runs: method -> runs by seed, methods in the order of the legends.
    """

    num_clients: int
    rounds: int
    partition: str
    client_state: str
    variant: str
    runs: dict[str, list[dict[str, Any]]]

    @property
    def title(self) -> str:
        """The group in words, for a panel's title."""
        parts = [f"{self.num_clients} client" + ("s" if self.num_clients != 1 else "")]
        parts += [self.partition] if self.partition != "IID" else []
        parts += ["clients share one model"] if self.client_state != "isolated" else []
        return ", ".join(parts + ([self.variant] if self.variant else []))

    @property
    def any_run(self) -> dict[str, Any]:
        """One of the runs, for what all of them have in common."""
        return next(iter(self.runs.values()))[0]


FIELDS = (
    "shared", "federation.num_clients", "federation.partition", "variant", "federation.rounds", "federation.client_state",
)  # fmt: skip
"""Columns whose values make a group, in the order of the groups."""


def groups(records: Sequence[dict[str, Any]]) -> list[Group]:
    """All groups, isolated clients first, then by the number of clients.

    Raises:
        InputError: two runs have the same setting, method and seed.
    """
    if not records:
        return []
    table = run_table(records)
    names = varying(table, EXPLAINED)
    table["variant"] = [
        ", ".join(
            f"{name.rpartition('.')[2].replace('_', ' ')} {value}" for name, value in zip(names, values, strict=True)
        )
        for values in table[names].itertuples(index=False)
    ]
    table["shared"] = table["federation.client_state"] != "isolated"
    groups: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for (*group, method), runs in grouped(table, *FIELDS, "algorithm"):
        groups.setdefault(tuple(group), {})[method] = runs
    return [
        Group(clients, rounds, partition, state, variant, {name: methods[name] for name in in_order(methods)})
        for (_, clients, partition, variant, rounds, state), methods in groups.items()
    ]


def has_isolated(records: Sequence[dict[str, Any]]) -> bool:
    """Return True if there is a run whose clients all start from the server's state."""
    return any(run["config"]["federation"].get("client_state", "isolated") == "isolated" for run in records)


def curve(run: dict[str, Any]) -> tuple[list[int], list[float]]:
    """Completed rounds and what was measured after each, on the text that :func:`measured` names."""
    rounds, values, _ = outcomes.curve(run)
    return rounds, values


def measured(run: dict[str, Any]) -> str:
    """Return the text and metric of a run's curve, for the label of an axis.

    Example:
        >>> run = {"config": {"evaluation": {"select": "validation"}}, "final": {"accuracy": 1.0}, "rounds": []}
        >>> measured(run)
        'validation accuracy'
    """
    return f"{outcomes.curve(run)[2]} {outcomes.metric(run)}"


def curves(runs: Sequence[dict[str, Any]]) -> tuple[list[int], list[list[float]]]:
    """The curves of one method's seeds at the rounds that all of them have evaluated."""
    every = [dict(zip(*curve(run), strict=True)) for run in runs]
    common = sorted(set.intersection(*(set(points) for points in every)))
    return common, [[points[rounds] for rounds in common] for points in every]


def final_accuracy(runs: Sequence[dict[str, Any]]) -> MeanInterval:
    """Return the mean final accuracy over seeds with its interval."""
    return student([run["final"]["accuracy"] for run in runs])


def traffic(entry: dict[str, Any]) -> int:
    """All bytes of one round, up and down, newcomers included."""
    return sum(sum(entry[name].values()) for name in ("bytes_up", "bytes_down", "bytes_joining"))


def describe(run: dict[str, Any]) -> str:
    """Model, data and scale in one line, from the record's own words."""
    config, model, data = run["config"], run["model"], run["data"]
    training = config["training"]
    return (
        f"{model['name']} ({model['parameters'] / 1e6:.1f} M parameters), {data['name']}: {data['train']:,} training, "
        f"{data['test']:,} test texts; LoRA rank {config['lora']['rank']}, {training['optimizer']}, "
        f"{training['local_steps']} local steps of batch "
        f"{training['batch_size']}"
    )
