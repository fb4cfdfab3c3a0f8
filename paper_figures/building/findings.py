"""Findings: sentences whose every number comes from the records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from paper_figures.analysis import confound, differences, linear_model, nonlinear_model
from paper_figures.analysis.groups import Group, final_accuracy, groups
from paper_figures.drawing.style import method_style
from paper_figures.records.sources import Records
from paper_figures.tables import tab_claims
from rolora.evaluation.intervals import MeanInterval


def shows(records: Records) -> list[str]:
    """Sentences on what the records show; what has no record is not mentioned."""
    return [
        *(claims(records) if records["claims"] else []),
        *(linear(records) if records["linear"] else []),
        *(nonlinear(records["nonlinear"], "Digits") if records["nonlinear"] else []),
        *(nonlinear(records["nonlinear_mnist"], "MNIST") if records["nonlinear_mnist"] else []),
        *(finetuning(records) if records["finetuning"] else []),
        *(
            [f"The method, or a chain of clients? {confound.verdict(records['confound'])}"]
            if records["confound"]
            else []
        ),
        *([confound.moved(records["movement"])] if records["movement"] else []),
    ]


def headline(records: Records) -> list[str]:
    """Return the five sentences of the front page: claims, the method, the chain, movement, and what is not shown."""
    sentences = [tab_claims.summary(records)] if records["claims"] else []
    gaps = [
        f"{group.title} {differences.interval(gap)}"
        for group in groups(records["finetuning"] or [])
        if (gap := difference(accuracies(group))) is not None
    ]
    if gaps:
        sentences.append(
            "RoLoRA less FedAvg-LoRA, test accuracy of a small encoder at chosen learning rates, paired by "
            f"seed: {'; '.join(gaps)}."
        )
    if records["confound"]:
        question = "The method, or a chain of clients that train one model in turn, as public code was found to do?"
        sentences.append(f"{question} {confound.verdict(records['confound'])}")
    if records["movement"]:
        sentences.append(confound.moved(records["movement"]).partition(";")[0].rstrip(".") + ".")
    return [*sentences, shows_not(records)[0]]


def shows_not(records: Records) -> list[str]:
    """Sentences on what must not be concluded."""
    result = ["No number of the papers' tables is reproduced: models, data and budgets here are smaller."]
    if records["linear"] and linear_model.fedavg_converges(records["linear"]):
        result.append(
            "The linear model with equal heads is no evidence for RoLoRA over FedAvg-LoRA: both converge on it."
        )
    if records["nonlinear_mnist"]:
        parameters = records["nonlinear_mnist"]["parameters"]
        result.append(
            f"The two-layer model on MNIST has the paper's sizes, but its gradient clip ({parameters['clip']:g}), number "
            f"of rounds ({parameters['rounds']}), first B and grid of learning rates are this project's, its seeds are "
            f"{parameters['seeds']}, and rates are chosen after {parameters['sweep']['rounds']} rounds with "
            f"{parameters['sweep']['seeds']} seed: curves can be compared in their order, not number by number."
        )
    if records["nonlinear"]:
        parameters = records["nonlinear"]["parameters"]
        result.append(
            f"The two-layer model is trained on {parameters['data']}; the paper uses {parameters['paper_data']}. "
            "An order of methods found on one need not hold on the other."
        )
    if records["finetuning"]:
        found = groups(records["finetuning"])
        result.append(
            f"Fine-tuning is done with {found[0].any_run['model']['name']}, not with RoBERTa-Large, and rounds become "
            "fewer as clients become more, so a fall of accuracy with clients mixes both."
        )
        if any(len(runs) == 1 for group in found for runs in group.runs.values()):
            result.append("Where there is one seed, a difference between methods has no interval and is not evidence.")
        if not records["confound"] and not any(group.client_state != "isolated" for group in found):
            result.append(
                "Every client starts from the server's state. What happens if clients of a round share one model "
                "object, as an implementation can by mistake, is not in these records."
            )
    return result


def bullets(sentences: Iterable[str]) -> str:
    r"""Sentences as a Markdown list in which nothing is taken for markup.

    Example:
        >>> bullets(["a* < 1"])
        '- a\\* \\< 1\n'
    """
    return "".join(f"- {plain(text)}\n" for text in sentences)


def plain(text: str) -> str:
    """Text in which Markdown finds nothing of its own."""
    return re.sub(r"([\\*_`|<>])", r"\\\1", text)


def claims(records: Records) -> Iterator[str]:
    """Verdicts counted, and every claim whose verdict is not plain."""
    yield tab_claims.summary(records)
    for claim in records["claims"] or []:
        if claim["verdict"] != "holds" or tab_claims.surprise(claim):
            yield f"{claim['id']}: {claim['verdict']}{tab_claims.surprise(claim)} ({claim['source']})."


def linear(records: Records) -> Iterator[str]:
    """Yield the angle distance at start and end, by method."""
    for name, title in linear_model.TITLES.items():
        ends = []
        for one in linear_model.curves(records["linear"], name):
            start, end = one.travelled()
            ends.append(f"{one.label} from {start:.2g} to {end:.2g}")
        if ends:
            yield f"Linear model, {title}: the angle distance goes for {'; '.join(ends)}."


def nonlinear(record: dict[str, Any], data: str) -> Iterator[str]:
    """Final accuracies at the chosen learning rates, and who leads at a common rate.

    Args:
        record: of the two-layer model; with a stage in its series, finals come from one and common rates from the other.
        data: what opens every sentence.
    """
    window = record["parameters"]["window"]
    staged = "stage" in record["series"][0]
    swept = {panel.name: panel.grid for panel in nonlinear_model.panels(record, "sweep" if staged else None)}
    for panel in nonlinear_model.panels(record, "final" if staged else None):
        ends = {name: nonlinear_model.finals_by_seed(runs, window) for name, runs in panel.chosen.items()}
        means = {name: np.mean(list(values.values())) for name, values in ends.items()}
        texts = [
            f"{method_style(name).label} {means[name]:.3f} (rate {panel.rate(name):g})"
            for name in sorted(means, key=lambda name: -means[name])
        ]
        after = f" after {next(iter(panel.chosen.values()))[0]['rounds'][-1]} rounds" if staged else ""
        yield f"{data}, {panel.name}{after}: {', '.join(texts)}{_difference(ends)}."
        grid = swept[panel.name]
        if {"rolora", "fedavg-lora"} <= grid.keys():
            means = {
                name: {rate: np.mean(nonlinear_model.finals(runs, window)) for rate, runs in grid[name].items()}
                for name in ("rolora", "fedavg-lora")
            }
            rates = sorted(means["rolora"])
            ahead = [f"{rate:g}" for rate in rates if means["rolora"][rate] > means["fedavg-lora"][rate]]
            runs = grid["rolora"][rates[0]]
            sweep = f" ({runs[0]['rounds'][-1]} rounds, {len(runs)} seed{'s' * (len(runs) > 1)})" if staged else ""
            yield (
                f"{data}, {panel.name}: at one common learning rate{sweep} RoLoRA is ahead of FedAvg-LoRA at "
                f"{', '.join(ahead) or 'none'} of {', '.join(f'{rate:g}' for rate in rates)}."
            )


def difference(finals: Mapping[str, Mapping[int, float]]) -> MeanInterval | None:
    """Return RoLoRA less FedAvg-LoRA, paired by seed; None where one is missing or they have fewer than two seeds."""
    gap = differences.mean(finals.get("rolora", {}), finals.get("fedavg-lora", {}))
    return gap if gap is not None and gap.n > 1 else None


def _difference(finals: Mapping[str, Mapping[int, float]]) -> str:
    """Return the difference in words, where both methods are there."""
    gap = differences.mean(finals.get("rolora", {}), finals.get("fedavg-lora", {}))
    return "" if gap is None else f"; {differences.sentence('RoLoRA', 'FedAvg-LoRA', gap)}"


def finetuning(records: Records) -> Iterator[str]:
    """Final accuracies by group."""
    for group in groups(records["finetuning"]):
        texts = [f"{method_style(name).label} {final_accuracy(runs).text()}" for name, runs in group.runs.items()]
        yield (
            f"{group.any_run['model']['name']} on {group.any_run['data']['name']}, {group.title}, {group.rounds} rounds: "
            f"{', '.join(texts)}{_difference(accuracies(group))}."
        )


def accuracies(group: Group) -> dict[str, dict[int, float]]:
    """Return method -> seed -> final accuracy."""
    return {name: {run["seed"]: run["final"]["accuracy"] for run in runs} for name, runs in group.runs.items()}
