"""Records of ``python -m rolora evaluate``: the same questions before and after fine-tuning, together over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from paper_figures.analysis import runs
from paper_figures.records.sources import Records
from rolora.errors import InputError
from rolora.evaluation.benchmarks.report import against
from rolora.evaluation.intervals import MeanInterval, student

Evaluation = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """One benchmark, put in one way to one base model and to what fine-tuning with one method made of it.

    Args:
        benchmark: its name.
        split: of its questions.
        how: likelihood, labels or generation.
        base: the base model's name.
        method: of fine-tuning; the folder's name where its run is not among the records; "" if nothing was fine-tuned.
        seeds: of the fine-tuning runs, or none.
        results: after fine-tuning, one a seed; of the base model where nothing was fine-tuned.
        comparisons: paired with the base model, one a seed; empty without a base model's record on the same questions.
    """

    benchmark: str
    split: str
    how: str
    base: str
    method: str
    seeds: tuple[int, ...]
    results: tuple[dict[str, Any], ...]
    comparisons: tuple[dict[str, Any], ...]

    @property
    def measure(self) -> str:
        """The measure that is compared: accuracy, or the loss of reference texts."""
        return "loss" if "loss" in self.results[0] else "accuracy"

    def mean(self) -> MeanInterval:
        """Of what was measured, over seeds."""
        return student([one[self.measure] for one in self.results])

    def score(self) -> str:
        """Accuracy in per cent or loss: over seeds where there are several, else with the interval over questions.

        Returns:
            Such as "62.5 ± 3.1" over seeds, "75.0 (30.1 to 95.4)" over questions: Wilson's interval has no middle.
        """
        if self.measure == "loss":
            return f"loss {self.mean().text(4)}"
        if len(self.results) > 1:
            return _percent(self.mean())
        low, high = self.results[0]["interval"]
        return f"{100 * self.results[0]['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})"

    def difference(self) -> tuple[str, str]:
        """After less before, as :meth:`score` has it, and what its interval is over; dashes without a base model's record."""
        found = self.comparisons
        if not found:
            return "–", "–"
        if self.measure == "loss":
            change = student([one["loss_after"] - one["loss_before"] for one in found])
            return change.text(4, sign=True), "seeds" if len(found) > 1 else "–"
        if len(found) > 1:
            return _percent(student([one["difference"] for one in found]), sign=True), "seeds"
        low, high = found[0]["interval"]
        return f"{100 * found[0]['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})", "questions"


def _percent(mean: MeanInterval, sign: bool = False) -> str:
    half = None if mean.half_width is None else 100 * mean.half_width
    return MeanInterval(100 * mean.mean, half, mean.n).text(1, sign=sign)


def compared(records: Records) -> list[Compared]:
    """Every benchmark, way, base model and method, base models first."""
    before = [one for one in records["evaluations"] if "base" not in one["model"]]
    found: dict[tuple[str, ...], list[tuple[int, dict[str, Any], dict[str, Any] | None]]] = {}
    for record in before:
        for result in _measured(record):
            found.setdefault((*_key(result), record["model"]["name"], ""), []).append((-1, result, None))
    for record in records["evaluations"]:
        if "base" in record["model"]:
            method, seed = _origin(record, records)
            pairs = _pairs(record, before)
            for result in _measured(record):
                key = (*_key(result), record["model"]["base"]["name"], method)
                found.setdefault(key, []).append((seed, result, pairs.get(_key(result))))
    return [_compared(key, several) for key, several in sorted(found.items(), key=lambda item: item[0])]


def _compared(key: tuple[str, ...], several: Sequence[tuple[int, dict[str, Any], dict[str, Any] | None]]) -> Compared:
    benchmark, split, how, base, method = key
    ordered = sorted(several, key=lambda one: one[0])
    return Compared(
        benchmark, split, how, base, method,
        tuple(seed for seed, _, _ in ordered if seed >= 0),
        tuple(result for _, result, _ in ordered),
        tuple(pair for _, _, pair in ordered if pair is not None),
    )  # fmt: skip


def _measured(record: Evaluation) -> list[dict[str, Any]]:
    """Results with a number: programs that were not executed have none."""
    return [one for one in record["results"] if "accuracy" in one or "loss" in one]


def _key(result: dict[str, Any]) -> tuple[str, str, str]:
    return result["benchmark"], result["split"], result["how"]


def _pairs(record: Evaluation, before: Sequence[Evaluation]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Comparisons with the first base record that has the same questions."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for earlier in before:
        if earlier["model"].get("sha256") != record["model"]["base"].get("sha256"):
            continue
        try:
            comparisons = against(earlier, _measured(record), Path(earlier["model"]["name"]))
        except InputError:  # no common questions
            continue
        for one in comparisons:
            found.setdefault(_key(one), one)
    return found


def _origin(record: Evaluation, records: Records) -> tuple[str, int]:
    """Method and seed of the run whose adapter was evaluated, by the run's name."""
    name = PurePath(record["model"]["name"]).name
    for kind in ("evaluation_runs", *runs.KINDS):
        for run in records[kind]:
            if run["name"] == name:
                return run["config"]["algorithm"], run["seed"]
    return name, 0
