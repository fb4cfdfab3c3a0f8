"""The opening of the page: what was done in numbers, and RoLoRA against FedAvg-LoRA wherever both were run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from paper_figures import registry
from paper_figures.analysis import differences, nonlinear_model
from paper_figures.analysis.groups import groups
from paper_figures.building import findings
from paper_figures.records.sources import SOURCES, Records, provenance
from paper_figures.report.sources import duration
from rolora.evaluation.intervals import MeanInterval


@dataclass(frozen=True)
class Tile:
    """One number of the opening, what it counts, and the part of the page that holds it."""

    number: str
    words: str
    anchor: str
    verdict: str = ""


@dataclass(frozen=True)
class Duel:
    """RoLoRA less FedAvg-LoRA in one setting: paired by seed, each method at the rate that validation chose for it.

    Args:
        where: model and clients.
        difference: of final accuracy, RoLoRA less FedAvg-LoRA.
    """

    where: str
    difference: MeanInterval

    @property
    def side(self) -> str:
        """The side of zero on which the interval lies, in words."""
        return differences.side(self.difference)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the 95 % interval."""
        return differences.ends(self.difference)


def tiles(records: Records) -> list[Tile]:
    """The numbers that open the page, all of them counted in the records."""
    found = []
    if records["claims"]:
        verdicts = Counter(claim["verdict"] for claim in records["claims"])
        refuted = sum(claim["control_verdict"] == "refuted" for claim in records["claims"])
        found.append(Tile(str(len(records["claims"])), "statements checked", "tab_claims"))
        found += [Tile(str(count), verdict, "tab_claims", verdict) for verdict, count in verdicts.most_common()]
        found.append(
            Tile(f"{refuted}/{len(records['claims'])}", "controls refuted, as a sound check needs", "tab_claims")
        )
    runs = sum(len(content) for kind in SOURCES if _runs(content := records[kind]))
    if runs:
        found.append(Tile(str(runs), "fine-tuning runs on record", "records"))
    entries = registry.select()
    made = sum(entry.available(records) for entry in entries)
    found.append(Tile(f"{made}/{len(entries)}", "figures and tables made from these records", "contents"))
    seconds = sum(provenance(records, kind).seconds or 0 for kind in SOURCES if not records.missing([kind]))
    if seconds:
        found.append(Tile(duration(seconds), "of computing behind them", "records"))
    return found


def _runs(content: object) -> bool:
    return isinstance(content, list) and bool(content) and "rounds" in content[0]


def duels(records: Records) -> list[Duel]:
    """Every setting with both methods and more than one seed, in the order of the page."""
    return [Duel(where, gap) for where, finals in _finals(records) if (gap := findings.difference(finals)) is not None]


def _finals(records: Records) -> Iterator[tuple[str, dict[str, dict[int, float]]]]:
    for record, data in ((records["nonlinear"], "digits"), (records["nonlinear_mnist"], "MNIST")):
        if record:
            staged = "stage" in record["series"][0]
            for panel in nonlinear_model.panels(record, "final" if staged else None):
                finals = {
                    name: nonlinear_model.finals_by_seed(runs, record["parameters"]["window"])
                    for name, runs in panel.chosen.items()
                }
                yield f"Two-layer model, {data}: {panel.name}", finals
    for group in groups(records["finetuning"]):
        yield (
            f"{group.any_run['model']['name']}, {group.any_run['data']['name']}: {group.title}",
            findings.accuracies(group),
        )


def score(found: list[Duel]) -> str:
    """The duels counted, in one sentence.

    Example:
        >>> score([])
        ''
    """
    if not found:
        return ""
    counts = Counter(duel.side for duel in found)
    return (
        f"In {len(found)} settings with both methods, RoLoRA ends above FedAvg-LoRA in {counts['above']}, below it in "
        f"{counts['below']}, and there is no significant difference in {counts[differences.NOT_SIGNIFICANT]} "
        "(95 % intervals of paired differences, one by one: nothing is corrected for their number)."
    )


def reach(settings: list[Duel]) -> float:
    """Half the width of an axis that holds every interval."""
    return max((abs(end) for duel in settings for end in duel.ends), default=1.0) * 1.05
