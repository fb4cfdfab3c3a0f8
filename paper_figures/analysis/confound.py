"""The confound: runs by optimiser, budget, clients and state, and what their paired differences say.

Two things change together where clients of a round share a model: the method, and a chain in which each client goes on from
the one before it. A cell here is one method in one of the two states; cells of equal seed have equal data, clients and first
adapter, so differences are taken seed by seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paper_figures.analysis import differences
from paper_figures.analysis.differences import NOT_SIGNIFICANT
from paper_figures.analysis.run_table import grouped, run_table
from rolora.evaluation.intervals import CONFIDENCE, MeanInterval, student
from rolora.records import read_json

STATES = {"isolated": "isolated clients", "chained": "chained clients"}
METHODS = ("fedavg-lora", "ffa-lora", "rolora")

VARIES = frozenset({"training.optimizer", "federation.num_clients", "federation.rounds"})
"""Config keys that the panels and columns name, so that a description of all runs leaves them out."""


@dataclass(frozen=True)
class Setting:
    """The settings that a panel holds fixed.

    Args:
        optimizer: of the clients.
        budget: "client-rounds" where the number of rounds falls with that of clients, else "rounds".
    """

    optimizer: str
    budget: str

    @property
    def title(self) -> str:
        """For a panel or a row."""
        name = {"sgd": "SGD", "adamw": "AdamW"}.get(self.optimizer, self.optimizer)
        return f"{name}, equal {self.budget}"


@dataclass(frozen=True)
class Cell:
    """One method at one number of clients in one state: its runs by seed."""

    rounds: int
    runs: dict[int, dict[str, Any]]

    def accuracies(self, share: float = 1.0) -> dict[int, float]:
        """Test accuracy by seed, after all rounds or at the measurement nearest to a share of them."""
        if share == 1.0:
            return {seed: run["final"]["accuracy"] for seed, run in self.runs.items()}
        found = {}
        for seed, run in self.runs.items():
            measured = [entry for entry in run["rounds"] if entry["evaluation"]]
            nearest = min(measured, key=lambda entry: abs(entry["round"] + 1 - share * self.rounds))
            found[seed] = nearest["evaluation"]["accuracy"]
        return found

    @property
    def mean(self) -> MeanInterval:
        """Over seeds, with its interval."""
        return student(list(self.accuracies().values()))


Key = tuple[int, str, str]
"""(clients, state, method)"""

CELL = ("federation.num_clients", "federation.client_state", "algorithm", "federation.rounds")
"""Columns whose values make a cell."""


def cells(records: Sequence[dict[str, Any]]) -> dict[Setting, dict[Key, Cell]]:
    """All cells, by setting. A number of clients whose rounds fit both budgets stands in both."""
    settings: dict[Setting, dict[Key, Cell]] = {}
    for optimizer, rows in run_table(records).groupby("training.optimizer"):
        clients, rounds = rows["federation.num_clients"], rows["federation.rounds"]
        for budget, value in budgets(sorted(set(zip(clients, rounds, strict=True)))):
            size = clients * rounds if budget == "client-rounds" else rounds
            cells = {
                tuple(key): Cell(rounds_of_runs, {run["seed"]: run for run in runs})
                for (*key, rounds_of_runs), runs in grouped(rows[size == value], *CELL)
            }
            if len(clients_of(cells)) > 1:
                settings[Setting(optimizer, budget)] = cells
    return settings


def budgets(scales: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """The product of clients and rounds, and the number of rounds, that most of the scales have in common."""
    found = []
    for budget, values in (("client-rounds", [n * t for n, t in scales]), ("rounds", [t for _, t in scales])):
        most = max(set(values), key=lambda value: (values.count(value), value))
        if values.count(most) > 1:
            found.append((budget, most))
    return found


def clients_of(group: dict[Key, Cell]) -> list[int]:
    """The numbers of clients of a setting."""
    return sorted({clients for clients, _, _ in group})


def rounds_of(group: dict[Key, Cell], clients: int) -> int:
    """The rounds of the cells at a number of clients."""
    return next(cell.rounds for (number, _, _), cell in group.items() if number == clients)


def difference(
    first: Cell | None, second: Cell | None, shares: tuple[float, float] = (1.0, 1.0)
) -> MeanInterval | None:
    """Return the mean of ``first`` less ``second`` over the seeds of both; None where a cell is missing.

    Args:
        first: a cell.
        second: what it is compared with.
        shares: of their rounds, after which they are compared.
    """
    if first is None or second is None:
        return None
    return differences.mean(first.accuracies(shares[0]), second.accuracies(shares[1]))


COMPARISONS = {
    "RoLoRA − FedAvg-LoRA, both isolated": (("isolated", "rolora"), ("isolated", "fedavg-lora")),
    "RoLoRA − FedAvg-LoRA, both chained": (("chained", "rolora"), ("chained", "fedavg-lora")),
    "RoLoRA chained − FedAvg-LoRA isolated": (("chained", "rolora"), ("isolated", "fedavg-lora")),
    "RoLoRA: chained − isolated": (("chained", "rolora"), ("isolated", "rolora")),
    "FedAvg-LoRA: chained − isolated": (("chained", "fedavg-lora"), ("isolated", "fedavg-lora")),
    "FFA-LoRA: chained − isolated": (("chained", "ffa-lora"), ("isolated", "ffa-lora")),
    "RoLoRA − FFA-LoRA, both isolated": (("isolated", "rolora"), ("isolated", "ffa-lora")),
}
"""Title -> (state, method) and what it is compared with."""


def compared(group: dict[Key, Cell], title: str, clients: int) -> MeanInterval | None:
    """One of the :data:`COMPARISONS` at a number of clients."""
    one, other = COMPARISONS[title]
    return difference(group.get((clients, *one)), group.get((clients, *other)))


def movement(records: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str, str], dict[int, list[float]]]:
    """Return the movement of a factor in the chain over that with isolated clients.

    Only first trained rounds are compared, which start from the same state in both: round 0, and where "shared" first
    differs, round 1.

    Returns:
        (optimiser, state, method, factor) -> clients -> the ratio of every seed.
    """
    columns = ["federation.client_state", "training.optimizer", "algorithm", "federation.num_clients", "seed"]
    runs = dict(run_table(records).set_index(columns)["run"].sort_index().items())
    ratios: dict[tuple[str, str, str, str], dict[int, list[float]]] = {}
    for (state, optimizer, method, clients, seed), run in runs.items():
        alone = runs.get(("isolated", optimizer, method, clients, seed))
        if state == "isolated" or alone is None:
            continue
        t = 0 if state == "chained" else 1
        for factor, length in run["rounds"][t]["moved"].items():
            ratio = length / alone["rounds"][t]["moved"][factor] if alone["rounds"][t]["moved"][factor] else np.nan
            if np.isfinite(ratio):
                ratios.setdefault((optimizer, state, method, factor), {}).setdefault(clients, []).append(float(ratio))
    return ratios


def growth(group: dict[Key, Cell], title: str) -> MeanInterval | None:
    """Return how much one of the :data:`COMPARISONS` grows from the fewest clients to the most, seed by seed."""
    few, many = (
        [group.get((clients, *place)) for place in COMPARISONS[title]] for clients in (min(group)[0], max(group)[0])
    )
    if None in few or None in many:
        return None
    gaps = [differences.by_seed(first.accuracies(), second.accuracies()) for first, second in (few, many)]
    return differences.mean(gaps[1], gaps[0])


CONCLUDED = (
    "RoLoRA − FedAvg-LoRA, both isolated",
    "RoLoRA chained − FedAvg-LoRA isolated",
    "RoLoRA: chained − isolated",
    "FedAvg-LoRA: chained − isolated",
)
"""The comparisons that the conclusion is about."""


def conclusion(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the intervals say: a sentence a comparison, and one on how it grows with the clients."""
    settings = cells(records)
    sentences = []
    for title in CONCLUDED:
        known = everywhere(settings, (title,))
        if not known:
            continue
        counts = words(known)
        significant = [comparison for comparison in known if differences.side(comparison[2]) != NOT_SIGNIFICANT]
        largest = max(significant or known, key=lambda comparison: abs(comparison[2].mean))
        sentences.append(
            f"{title}: of {len(known)} comparisons (setting and number of clients) the interval lies above zero in "
            f"{counts['above']}, below in {counts['below']}, and includes zero in {counts[NOT_SIGNIFICANT]}; the largest "
            f"{'significant ' if significant else ''}difference is {largest[2].text(3, sign=True)} ({largest[0].title}, "
            f"{largest[1]} clients)."
        )
    for setting, group in settings.items():
        grown = [(title, growth(group, title)) for title in CONCLUDED[:2]]
        parts = [f"{title} by {entry.text(3, sign=True)}" for title, entry in grown if entry is not None]
        few, many = clients_of(group)[0], clients_of(group)[-1]
        if parts:
            sentences.append(f"{setting.title}, from {few} to {many} clients: {'; '.join(parts)}.")
    return sentences


def everywhere(
    settings: dict[Setting, dict[Key, Cell]], titles: Sequence[str]
) -> list[tuple[Setting, int, MeanInterval]]:
    """Some of the :data:`COMPARISONS` in every setting and at every number of clients where both cells are there."""
    return [
        (setting, clients, entry)
        for setting, group in settings.items()
        for clients in clients_of(group)
        for title in titles
        if (entry := compared(group, title, clients)) is not None
    ]


def words(known: Sequence[tuple[Setting, int, MeanInterval]]) -> dict[str, int]:
    """Return how many intervals lie above zero, below it, and include it."""
    return differences.counts([difference for *_, difference in known])


def verdict(records: Sequence[dict[str, Any]]) -> str:
    """Return in one sentence whether the method, the chain of clients, both or neither makes a difference."""
    settings = cells(records)
    method = words(everywhere(settings, ("RoLoRA − FedAvg-LoRA, both isolated",)))
    chain = words(everywhere(settings, [title for title in COMPARISONS if "chained − isolated" in title]))
    answer = {
        (True, True): "Both, as far as the intervals tell",
        (True, False): "The method, as far as the intervals tell",
        (False, True): "The chain, as far as the intervals tell",
        (False, False): "Neither is a significant gain",
    }[method["above"] > method["below"], chain["above"] > chain["below"]]
    return (
        f"{answer}: with isolated clients RoLoRA is above FedAvg-LoRA in {method['above']} of {sum(method.values())} comparisons and "
        f"below in {method['below']}; a chain raises a method's accuracy in {chain['above']} of {sum(chain.values())} and lowers "
        f"it in {chain['below']}, where {(1 - CONFIDENCE) / 2 * sum(chain.values()):.1f} of each would be expected if nothing differed."
    )


def edges(directory: Path) -> tuple[int, int]:
    """In how many cells the smallest or largest rate of the grid was chosen, and of how many, by the sweeps' summaries.

    Args:
        directory: of the records.
    """
    found = [
        bool(cell["at_edge"])
        for path in sorted((directory / "confound").glob("*_sweep.json"))
        for cell in read_json(path)["cells"]
    ]
    return sum(found), len(found)


def moved(records: Sequence[dict[str, Any]]) -> str:
    """The measured ratios of movement beside (N + 1)/2, as a sentence.

    Where a factor is not handed on in its first round ("shared" but for RoLoRA) the ratio is one by construction and left out.
    FedAvg-LoRA's A stands apart: its gradient is zero as long as B is, so that a chain moves it further than gradients that are
    equal for all clients would.
    """
    means: dict[bool, dict[int, list[float]]] = {False: {}, True: {}}
    for (_, state, method, factor), by_clients in movement(records).items():
        if state == "shared" and method != "rolora":
            continue
        for n, ratios in by_clients.items():
            means[(method, factor) == ("fedavg-lora", "A")].setdefault(n, []).append(float(np.mean(ratios)))
    after = f"; FedAvg-LoRA's A, whose gradient is zero while B is: {_ranges(means[True])}" if means[True] else ""
    return f"A chain moves the factors of a round further than isolated clients do: {_ranges(means[False])}{after}."


def _ranges(means: dict[int, list[float]]) -> str:
    return ", ".join(
        f"with {n} clients {min(found):.1f} to {max(found):.1f} times (expected {(n + 1) / 2:g})"
        for n, found in sorted(means.items())
    )
