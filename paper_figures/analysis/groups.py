"""Fine-tuning runs put into groups that may be compared: same setting, different method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paper_figures.analysis import runs as outcomes
from paper_figures.drawing.style import in_order
from rolora.errors import InputError
from rolora.evaluation.intervals import Mean, student

COMPARED = {
    "algorithm",
    "seed",
    "federation.num_clients",
    "federation.rounds",
    "federation.partition",
    "federation.dirichlet_alpha",
    "federation.labels_per_client",
    "federation.client_state",
    "training.learning_rate",
}
"""Config keys that a group's own fields account for; any other key that varies becomes part of the group's title.

The learning rate is a method's own: it is chosen for each method and number of clients, and tables name it."""

SKIPPED = ("runtime", "evaluation.every", "evaluation.batch_size")
"""Config keys that say how a run was executed or watched, and not what it is."""


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
        """What the group is, for a panel's title."""
        parts = [f"{self.num_clients} client" + ("s" if self.num_clients != 1 else "")]
        parts += [self.partition] if self.partition != "IID" else []
        parts += ["clients share one model"] if self.client_state != "isolated" else []
        return ", ".join(parts + ([self.variant] if self.variant else []))

    @property
    def any_run(self) -> dict[str, Any]:
        """One of the runs, for what all of them have in common."""
        return next(iter(self.runs.values()))[0]


def groups(records: Sequence[dict[str, Any]]) -> list[Group]:
    """All groups, isolated clients first, then by the number of clients.

    Raises:
        InputError: two runs have the same setting, method and seed.
    """
    settings = [_flatten(run["config"]) for run in records]
    varying = _varying(settings)
    found: dict[tuple[Any, ...], dict[str, dict[int, dict[str, Any]]]] = {}
    for run, setting in zip(records, settings, strict=True):
        federation = run["config"]["federation"]
        variant = ", ".join(f"{key.rpartition('.')[2].replace('_', ' ')} {setting.get(key)}" for key in varying)
        state = federation.get("client_state", "isolated")
        key = (state != "isolated", federation["num_clients"], partition(federation), variant, federation["rounds"])
        seeds = found.setdefault((*key, state), {}).setdefault(run["config"]["algorithm"], {})
        if run["seed"] in seeds:
            raise InputError(
                f"fine-tuning records: {seeds[run['seed']]['name']} and {run['name']} have the same setting, method and "
                f"seed, expected one run of each"
            )
        seeds[run["seed"]] = run
    return [
        Group(
            num_clients=clients,
            rounds=rounds,
            partition=partition,
            client_state=state,
            variant=variant,
            runs={name: [methods[name][seed] for seed in sorted(methods[name])] for name in in_order(methods)},
        )
        for (_, clients, partition, variant, rounds, state), methods in sorted(found.items(), key=lambda item: item[0])
    ]


def has_isolated(records: Sequence[dict[str, Any]]) -> bool:
    """Whether there is a run whose clients all start from the server's state."""
    return any(run["config"]["federation"].get("client_state", "isolated") == "isolated" for run in records)


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = prefix + key
        if name in COMPARED or name.startswith(SKIPPED):
            continue
        if isinstance(value, dict):
            flat |= _flatten(value, name + ".")
        else:
            flat[name] = str(value)
    return flat


def _varying(settings: Sequence[dict[str, str]]) -> list[str]:
    keys = sorted({key for setting in settings for key in setting})
    return [key for key in keys if len({setting.get(key) for setting in settings}) > 1]


def partition(federation: dict[str, Any]) -> str:
    """How the training text is divided among clients, in words."""
    kind = federation.get("partition", "iid")
    if kind == "dirichlet":
        return f"Dirichlet({federation['dirichlet_alpha']:g})"
    if kind == "by-label":
        return f"{federation['labels_per_client']} label{'s' * (federation['labels_per_client'] > 1)} a client"
    return {"iid": "IID", "by-column": "clients of the data"}.get(kind, kind)


def curve(run: dict[str, Any]) -> tuple[list[int], list[float]]:
    """Completed rounds and what was measured after each, on the text that :func:`measured` names."""
    rounds, values, _ = outcomes.curve(run)
    return rounds, values


def measured(run: dict[str, Any]) -> str:
    """Which text and metric a run's curve is of, for the label of an axis.

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


def final_accuracy(runs: Sequence[dict[str, Any]]) -> Mean:
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
