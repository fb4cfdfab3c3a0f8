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

from rolora.evaluation.intervals import CONFIDENCE, MeanInterval, student
from rolora.records import read_json

STATES = {"isolated": "isolated clients", "chained": "chained clients"}
METHODS = ("fedavg-lora", "ffa-lora", "rolora")

VARIES = frozenset({"training.optimizer", "federation.num_clients", "federation.rounds"})
"""Config keys that the panels and columns name, so that a description of all runs leaves them out."""


@dataclass(frozen=True)
class Setting:
    """What a panel holds fixed.

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


def cells(records: Sequence[dict[str, Any]]) -> dict[Setting, dict[Key, Cell]]:
    """All cells, by setting. A number of clients whose rounds fit both budgets stands in both."""
    by_rounds: dict[tuple[str, int, int], dict[tuple[str, str], dict[int, dict[str, Any]]]] = {}
    for run in records:
        federation = run["config"]["federation"]
        where = (run["config"]["training"]["optimizer"], federation["num_clients"], federation["rounds"])
        state = federation.get("client_state", "isolated")
        by_rounds.setdefault(where, {}).setdefault((state, run["config"]["algorithm"]), {})[run["seed"]] = run
    found: dict[Setting, dict[Key, Cell]] = {}
    for optimizer in sorted({name for name, _, _ in by_rounds}):
        for budget, value in budgets([(n, t) for name, n, t in by_rounds if name == optimizer]):
            fits = {
                (clients, *names): Cell(rounds, runs)
                for (name, clients, rounds), group in by_rounds.items()
                if name == optimizer and (clients * rounds if budget == "client-rounds" else rounds) == value
                for names, runs in group.items()
            }
            if len({clients for clients, _, _ in fits}) > 1:
                found[Setting(optimizer, budget)] = fits
    return found


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


def difference(one: Cell | None, other: Cell | None, shares: tuple[float, float] = (1.0, 1.0)) -> MeanInterval | None:
    """The mean of ``one`` minus ``other`` over the seeds of both, with Student's interval; None where a cell is missing.

    Args:
        one: a cell.
        other: what it is compared with.
        shares: of their rounds, after which they are compared.
    """
    found = by_seed(one, other, shares)
    return student(list(found.values())) if found else None


def by_seed(one: Cell | None, other: Cell | None, shares: tuple[float, float] = (1.0, 1.0)) -> dict[int, float]:
    """``one`` minus ``other`` for the seeds of both, in their order; arguments as in :func:`difference`."""
    if one is None or other is None:
        return {}
    first, second = one.accuracies(shares[0]), other.accuracies(shares[1])
    return {seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}


def judged(found: MeanInterval | None) -> str:
    """What an interval says: higher, lower, or nothing that can be told apart from zero.

    Example:
        >>> judged(student([0.1, 0.11, 0.12])), judged(student([-0.1, 0.1, 0.0])), judged(student([0.3]))
        ('higher', 'not told apart', 'not told apart')
    """
    if found is None or found.half_width is None or abs(found.mean) <= found.half_width:
        return "not told apart"
    return "higher" if found.mean > 0 else "lower"


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
    """How many times as far a factor goes in the chain as with isolated clients.

    Only first trained rounds are compared, which start from the same state in both: round 0, and where "shared" first
    differs, round 1.

    Returns:
        (optimiser, state, method, factor) -> clients -> the ratio of every seed.
    """
    runs = {}
    for run in records:
        config = run["config"]
        federation = config["federation"]
        where = (config["training"]["optimizer"], config["algorithm"], federation["num_clients"], run["seed"])
        runs[(federation.get("client_state", "isolated"), *where)] = run
    found: dict[tuple[str, str, str, str], dict[int, list[float]]] = {}
    for (state, optimizer, method, clients, seed), run in sorted(runs.items()):
        alone = runs.get(("isolated", optimizer, method, clients, seed))
        if state == "isolated" or alone is None:
            continue
        t = 0 if state == "chained" else 1
        for factor, length in run["rounds"][t]["moved"].items():
            ratio = length / alone["rounds"][t]["moved"][factor] if alone["rounds"][t]["moved"][factor] else np.nan
            if np.isfinite(ratio):
                found.setdefault((optimizer, state, method, factor), {}).setdefault(clients, []).append(float(ratio))
    return found


def growth(group: dict[Key, Cell], title: str) -> MeanInterval | None:
    """How much one of the :data:`COMPARISONS` grows from the fewest clients to the most, seed by seed."""
    one, other = COMPARISONS[title]
    numbers = clients_of(group)
    few, many = (
        by_seed(group.get((clients, *one)), group.get((clients, *other))) for clients in (numbers[0], numbers[-1])
    )
    seeds = sorted(few.keys() & many.keys())
    return student([many[seed] - few[seed] for seed in seeds]) if seeds else None


ASKED = (
    "RoLoRA − FedAvg-LoRA, both isolated",
    "RoLoRA chained − FedAvg-LoRA isolated",
    "RoLoRA: chained − isolated",
    "FedAvg-LoRA: chained − isolated",
)
"""The comparisons that the conclusion is about."""


def conclusion(records: Sequence[dict[str, Any]]) -> list[str]:
    """What the intervals say, whichever way they fall: a sentence a comparison, and one on how it grows with the clients."""
    found = cells(records)
    sentences = []
    for title in ASKED:
        known = everywhere(found, (title,))
        if not known:
            continue
        counts = words(known)
        told = [one for one in known if judged(one[2]) != "not told apart"]
        largest = max(told or known, key=lambda one: abs(one[2].mean))
        sentences.append(
            f"{title}: of {len(known)} comparisons (setting and number of clients) the interval lies above zero in "
            f"{counts['higher']}, below in {counts['lower']}, and holds zero in {counts['not told apart']}; the largest "
            f"difference {'that is told apart ' if told else ''}is {largest[2].text(3, sign=True)} ({largest[0].title}, "
            f"{largest[1]} clients)."
        )
    for setting, group in found.items():
        grown = [(title, growth(group, title)) for title in ASKED[:2]]
        parts = [f"{title} by {entry.text(3, sign=True)}" for title, entry in grown if entry is not None]
        few, many = clients_of(group)[0], clients_of(group)[-1]
        if parts:
            sentences.append(f"{setting.title}, from {few} to {many} clients: {'; '.join(parts)}.")
    return sentences


def everywhere(found: dict[Setting, dict[Key, Cell]], titles: Sequence[str]) -> list[tuple[Setting, int, MeanInterval]]:
    """Some of the :data:`COMPARISONS` in every setting and at every number of clients where both cells are there."""
    return [
        (setting, clients, entry)
        for setting, group in found.items()
        for clients in clients_of(group)
        for title in titles
        if (entry := compared(group, title, clients)) is not None
    ]


def words(known: Sequence[tuple[Setting, int, MeanInterval]]) -> dict[str, int]:
    """How often their intervals say each of the words of :func:`judged`."""
    said = [judged(entry) for *_, entry in known]
    return {word: said.count(word) for word in ("higher", "lower", "not told apart")}


def verdict(records: Sequence[dict[str, Any]]) -> str:
    """Whether the method, the chain of clients, both or neither makes a difference, in one sentence."""
    found = cells(records)
    method = words(everywhere(found, ("RoLoRA − FedAvg-LoRA, both isolated",)))
    chain = words(everywhere(found, [title for title in COMPARISONS if "chained − isolated" in title]))
    told = {
        (True, True): "Both, as far as the intervals tell",
        (True, False): "The method, as far as the intervals tell",
        (False, True): "The chain, as far as the intervals tell",
        (False, False): "Neither is told apart from chance as a gain",
    }[method["higher"] > method["lower"], chain["higher"] > chain["lower"]]
    return (
        f"{told}: with isolated clients RoLoRA is above FedAvg-LoRA in {method['higher']} of {sum(method.values())} comparisons and "
        f"below in {method['lower']}; a chain raises a method's accuracy in {chain['higher']} of {sum(chain.values())} and lowers "
        f"it in {chain['lower']}, where {(1 - CONFIDENCE) / 2 * sum(chain.values()):.1f} of each would be expected if nothing differed."
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
