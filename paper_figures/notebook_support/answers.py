"""The answers that the notebooks end with: the first sentence answers the question, the others say what it rests on.

Every word that could turn out otherwise ("below", "none of", "No") is chosen from the records when the notebook runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from paper_figures.analysis import confound, differences, methods
from paper_figures.analysis import linear_model as linear_record
from paper_figures.analysis import nonlinear_model as nonlinear_record
from paper_figures.analysis import runs as outcomes
from paper_figures.analysis.differences import NOT_SIGNIFICANT
from paper_figures.analysis.groups import final_accuracy, groups
from paper_figures.analysis.methods import EXACT
from paper_figures.building import findings
from paper_figures.drawing.style import in_order, method_style
from paper_figures.notebook_support import rerun
from paper_figures.panels import laws
from paper_figures.panels.interference_by_layer import by_layer, exact_methods, of_records
from paper_figures.records.sources import Records
from rolora.evaluation.intervals import MeanInterval, student
from theory.printed_numbers import load

PAIR = ("rolora", "fedavg-lora")
"""The two methods between which the papers' claim lies."""


def linear_model(records: Records, new: Records) -> Iterator[str]:
    """Notebook 01: whether the linear model tells RoLoRA from FedAvg-LoRA.

    Args:
        records: with the linear record and the claims.
        new: draws that are not in it.
    """
    converges = linear_record.fedavg_converges(records["linear"])
    told = "No: it shows the floor of FFA-LoRA, which both of the others leave. " if converges else "Yes. "
    yield f"{told}{linear_record.headline(records['linear'])}."
    for claim in records["claims"] or []:
        if claim["id"] in ("linear-model-separates", "linear-model-separates-ffa"):
            yield f"Checked as a claim, on {claim['instances']:,} instances: {claim['statement']}: {claim['verdict']}."
    same = linear_record.fedavg_converges(new["linear"]) == converges
    ends = linear_record.headline(new["linear"]).partition(": ")[2]
    count = len({one["seed"] for one in new["linear"]["series"]})
    yield f"{count} new draws say {'the same' if same else 'something ELSE'}: {ends}."


def nonlinear_model(records: Records) -> Iterator[str]:
    """Notebook 02: what alternating buys on the two-layer model."""
    studies = {"MNIST": (records["nonlinear_mnist"], "final", "sweep"), "digits": (records["nonlinear"], None, None)}
    gaps, ahead, floors = [], [], []
    for data, (record, final, sweep) in studies.items():
        window = record["parameters"]["window"]
        for panel in nonlinear_record.panels(record, final):
            ends = {name: nonlinear_record.finals(runs, window) for name, runs in panel.chosen.items()}
            gaps.append(student(np.subtract(ends["rolora"], ends["fedavg-lora"]).tolist()))
            floors.append(np.mean(ends["ffa-lora"]) < min(np.mean(ends[name]) for name in PAIR))
        ahead += [(data, *one) for one in _ahead(record, sweep)]
    counts = differences.counts(gaps)
    led = [one for one in ahead if one[2]]
    small = sum(_small_only(leads, rates) for _, _, leads, rates in led)
    gained = "buys" if counts["above"] > counts["below"] else "does not buy"
    yield (
        f"Alternating {gained} final accuracy: with each method at the learning rate that validation chose, RoLoRA is above "
        f"FedAvg-LoRA on {counts['above']} of {len(gaps)} panels, below on {counts['below']}, and without a significant difference on "
        f"{counts[NOT_SIGNIFICANT]} (95 % intervals, paired by seed)."
    )
    yield (
        f"At one learning rate for both, RoLoRA leads at some rates on {len(led)} of {len(ahead)} panels"
        + (f", on {small} of them at the smallest rates of the grid and at no other" if led else "")
        + ": "
        + "; ".join(f"{data}, {name}: {', '.join(f'{rate:g}' for rate in leads)}" for data, name, leads, _ in led)
        + ". A comparison at one rate for all methods shows this and not the answer above."
    )
    yield f"FFA-LoRA, which never moves A, ends below both on {sum(floors)} of {len(floors)} panels."
    for claim in records["claims"] or []:
        if claim["id"] == "communication-halved" and claim["verdict"] == "holds":
            yield f"What it does buy is traffic: RoLoRA sends {claim['measured']:g} of FedAvg-LoRA's bytes up a round."


def _ahead(record: dict[str, Any], stage: str | None) -> Iterator[tuple[str, list[float], list[float]]]:
    """Panel, the common rates at which RoLoRA's mean is ahead of FedAvg-LoRA's, and all rates."""
    window = record["parameters"]["window"]
    for panel in nonlinear_record.panels(record, stage):
        means = {
            name: {rate: np.mean(nonlinear_record.finals(runs, window)) for rate, runs in panel.grid[name].items()}
            for name in PAIR
        }
        rates = sorted(means["rolora"])
        yield panel.name, [rate for rate in rates if means["rolora"][rate] > means["fedavg-lora"][rate]], rates


def _small_only(leads: Sequence[float], rates: Sequence[float]) -> bool:
    """Return True if the rates with a lead are the smallest ones."""
    return list(leads) == list(rates[: len(leads)])


def quoted_beside(records: Records) -> Iterator[str]:
    """Yield the numbers quoted of the paper's Figure 2 and of others' rerun, beside the same panel here."""
    quoted, record = nonlinear_record.quoted(), records["nonlinear_mnist"]
    panels = {panel.name: panel.chosen for panel in nonlinear_record.panels(record, "final")}
    panels["centralised"] = nonlinear_record.reference(record, "final")
    whose = {"paper": "the paper", "rerun": "an independent rerun"}
    for one in quoted["numbers"]:
        runs = panels[one["panel"]][one["method"]]
        ours = np.mean(nonlinear_record.finals(runs, record["parameters"]["window"]))
        said = f"about {one['value']:g} %" if one["about"] else f"{one['value']:g} %"
        place = "" if one["panel"] == "centralised" else f", {one['panel']}"
        yield (
            f"{method_style(one['method']).label}{place}: {whose[one['source']]} has {said} "
            f"({quoted['trust'][one['trust']]}), here {100 * ours:.1f} % at rate {runs[0]['learning_rate']:g} "
            f"({len(runs)} seeds)."
        )
    yield f"{quoted['note'][0].upper()}{quoted['note'][1:]}."
    yield from _rerun_gap(record, quoted["numbers"])


def _rerun_gap(record: dict[str, Any], numbers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rerun has one small rate for all methods: what its gap is here at the smallest rates of the sweep."""
    values = {one["method"]: one for one in numbers if one["source"] == "rerun" and one["method"] in PAIR}
    name = values["rolora"]["panel"]
    (panel,) = [one for one in nonlinear_record.panels(record, "sweep") if one.name == name]
    window, said = record["parameters"]["window"], []
    for rate in sorted(panel.grid["rolora"])[:2]:
        ours = {method: 100 * np.mean(nonlinear_record.finals(panel.grid[method][rate], window)) for method in PAIR}
        said.append(f"{ours['rolora'] - ours['fedavg-lora']:+.1f} at {rate:g}")
    gap = values["rolora"]["value"] - values["fedavg-lora"]["value"]
    yield (
        f"Between RoLoRA and FedAvg-LoRA the rerun has {gap:+.1f} points, at one rate for both; here, after "
        f"{record['parameters']['sweep']['rounds']} rounds at one rate for both: {' and '.join(said)}."
    )


def new_digits(records: Records, new: Records) -> Iterator[str]:
    """Yield whether a new draw of the digits agrees with the record."""
    (panel,) = nonlinear_record.panels(new["nonlinear"])
    old, made = (rerun.ends(drawn["nonlinear"], panel.name) for drawn in (records, new))
    for what, choose in (("smallest", min), ("best", None)):
        found = []
        for ends in (old, made):
            at = {name: (ends[name][choose(ends[name])] if choose else max(ends[name].values())) for name in PAIR}
            found.append((at["rolora"] > at["fedavg-lora"], at))
        agrees = "the record says the same" if found[0][0] == found[1][0] else "the record says the OPPOSITE"
        at = found[1][1]
        yield (
            f"New draw, {panel.name}, at the {what} rate: RoLoRA {at['rolora']:.2f}, FedAvg-LoRA "
            f"{at['fedavg-lora']:.2f}; {agrees} ({found[0][1]['rolora']:.2f} and {found[0][1]['fedavg-lora']:.2f})."
        )


def interference(records: Records, toy: dict[str, list[Any]]) -> Iterator[str]:
    """Notebook 03: what averaging the factors apart loses, and which methods lose nothing.

    Args:
        records: with the methods' runs and the conformance findings.
        toy: what was found on the toy layers.
    """
    real, small = of_records(records), by_layer(toy)
    run = records["methods"][0]
    clients = run["config"]["federation"]["num_clients"]
    kept = exact_methods(real)
    fedavg = sorted(real["fedavg-lora"].values())
    yield (
        f"On {run['model']['name']} with {clients} clients, averaging A and B apart misses from {percent(fedavg[0])} to "
        f"{percent(fedavg[-1])} of a round's movement, by layer (medians over rounds and seeds); "
        f"{_labels(kept)} miss nothing: less than {percent(EXACT, 3)} in every layer."
    )
    laws = {entry["subject"] for entry in records["conformance"] if entry["law"] == 3 and _exact_by_law(entry)}
    also = {name for name in exact_methods(small) if name in real}
    agree = set(kept) == also == laws & real.keys()
    yield (
        f"The toy layers and the law of exactness, through PEFT's own forward pass, name "
        f"{'the same methods' if agree else f'OTHERS: {_labels(also)}; {_labels(laws & real.keys())}'}."
    )
    spreads = list(small["fedavg-lora"].values())
    grows = all(one < two for one, two in pairwise(spreads))
    yield (
        f"On the toy layers FedAvg-LoRA's miss {'grows' if grows else 'does NOT grow'} with the clients' disagreement: "
        f"{', '.join(f'{layer}: {percent(value)}' for layer, value in small['fedavg-lora'].items())}."
    )
    rest = [name for name in in_order(real) if name not in kept]
    yield (
        "Not exact on the encoder (median over layers): "
        + ", ".join(f"{method_style(name).label} {percent(np.median(list(real[name].values())))}" for name in rest)
        + "."
    )
    yield from _what_a_miss_costs(records)


def _exact_by_law(entry: dict[str, Any]) -> bool:
    return laws.MARKS[entry["verdict"]] == "✓" and not entry["words"].startswith("misses")


def _what_a_miss_costs(records: Records) -> Iterator[str]:
    """FedEx-LoRA trains as FedAvg-LoRA does and gives back what is missed: their difference is what the miss costs."""
    runs = methods.by_method(records["methods"])
    if not {"fedex-lora", "fedavg-lora"} <= runs.keys():
        return
    gap = differences.mean(outcomes.values(runs["fedex-lora"]), outcomes.values(runs["fedavg-lora"]))
    if gap is not None and gap.n > 1:
        costs = differences.side(gap) == "above"
        yield (
            f"That a miss costs accuracy is {'' if costs else 'not '}seen here: FedEx-LoRA, which trains as FedAvg-LoRA does and adds "
            f"back what that misses, ends {differences.interval(gap)} from it: {_against_zero(gap)} ({gap.n} seeds)."
        )


def federated_finetuning(records: Records) -> Iterator[str]:
    """Notebook 04: whether RoLoRA holds its accuracy as the clients become many."""
    found = [
        one for one in groups(records["finetuning"]) if one.client_state == "isolated" and set(PAIR) <= one.runs.keys()
    ]
    few, many = found[0], found[-1]
    falls = {
        name: differences.by_seed(outcomes.values(few.runs[name]), outcomes.values(many.runs[name]))
        for name in few.runs
        if name in many.runs
    }
    words = [f"{method_style(name).label} {_over_seeds(fall)}" for name, fall in falls.items()]
    gap = differences.mean(falls["fedavg-lora"], falls["rolora"])
    end = differences.mean(*(outcomes.values(many.runs[name]) for name in PAIR))
    better = {"above": "Yes, better than FedAvg-LoRA", "below": "No, less well than FedAvg-LoRA"}
    yield (
        f"{better.get(differences.side(gap), 'No better than FedAvg-LoRA')}, at this scale: from {few.num_clients} to "
        f"{many.num_clients} clients the accuracy falls by {', '.join(words)}; FedAvg-LoRA falls {differences.interval(gap)} "
        f"further than RoLoRA: {_against_zero(gap)}."
    )
    yield (
        f"At {many.num_clients} clients: "
        + ", ".join(f"{method_style(name).label} {final_accuracy(runs).text()}" for name, runs in many.runs.items())
        + f"; RoLoRA less FedAvg-LoRA {differences.interval(end)}. The rounds fell "
        f"from {few.rounds} to {many.rounds} at the same time, so the fall is not the clients' alone."
    )


def _over_seeds(values: Mapping[int, float]) -> str:
    return differences.interval(student(list(values.values())))


def _against_zero(gap: MeanInterval) -> str:
    side = differences.side(gap)
    return "no significant difference" if side == NOT_SIGNIFICANT else f"{side} zero"


def the_confound(records: Records) -> Iterator[str]:
    """Notebook 05: whether the method, the chain of clients, both or neither makes the difference."""
    yield confound.verdict(records["confound"])
    yield from confound.conclusion(records["confound"])
    yield confound.moved(records["movement"])


def paper_tables(records: Records) -> Iterator[str]:
    """Notebook 06: how the printed tables and what was run here stand to each other."""
    printed = load()["numbers"]
    orders = list(_orders(records))
    same = sum(printed_first == ours for _, printed_first, ours, _ in orders)
    apart = sum(
        printed_first != ours and differences.side(gap) != NOT_SIGNIFICANT for _, printed_first, ours, gap in orders
    )
    yield (
        "Number by number they cannot be compared: model, task and budget are others. Where they could agree, in which of RoLoRA "
        f"and FedAvg-LoRA has the higher mean at the table's rank, they agree at {same} of {len(orders)} numbers of clients; at "
        f"{apart} the opposite is significant here."
    )
    for clients, printed_first, ours, gap in orders:
        yield (
            f"{clients} clients: {method_style(printed_first).label} is ahead in print, {method_style(ours).label} here; RoLoRA less "
            f"FedAvg-LoRA {differences.interval(gap)}: {_against_zero(gap)}."
        )
    trust = {letter: sum(entry["trust"] == letter for entry in printed) for letter in load()["trust"]}
    yield (
        f"Of {len(printed)} printed lines, "
        + ", ".join(f"{count} are {load()['trust'][letter]}" for letter, count in trust.items() if count)
        + "."
    )
    audits = [claim for claim in records["claims"] or [] if claim["id"].startswith("audit-")]
    refuted = [claim for claim in audits if claim["verdict"] == "refuted"]
    if audits:
        yield (
            f"The printed digits were held against each other in {len(audits)} audits; {len(refuted)} statements fail: "
            + "; ".join(claim["statement"] for claim in refuted)
            + "."
        )


def _orders(records: Records) -> Iterator[tuple[int, str, str, MeanInterval]]:
    """Clients, the method that is ahead in print at rank 4, the one that is ahead here, and our paired differences."""
    table = "P1-1-r4"
    for group in groups(records["finetuning"]):
        plain = group.client_state == "isolated" and group.partition == "IID" and not group.variant
        if not plain or group.any_run["config"]["lora"]["rank"] != load()["tables"][table]["rank"]:
            continue
        values = {
            entry["method"]: float(entry["value"])
            for entry in load()["numbers"]
            if entry["table"] == table and entry["clients"] == group.num_clients and entry["method"] in PAIR
        }
        if set(PAIR) <= values.keys() & group.runs.keys():
            gap = differences.mean(*(outcomes.values(group.runs[name]) for name in PAIR))
            yield group.num_clients, max(values, key=values.__getitem__), PAIR[int(gap.mean < 0)], gap


def your_own_model(
    record: dict[str, Any], plain_accuracy: float, difference: float, refusals: Sequence[Any]
) -> Iterator[str]:
    """Notebook 07: what came of a reader's model and data.

    Args:
        record: of the run.
        plain_accuracy: of the exported adapter, loaded with PEFT alone.
        difference: the largest between the logits of the adapter and of the merged model.
        refusals: the commands with bad input, each with ``status`` and ``lines``.
    """
    final, start = record["final"]["accuracy"], record["initial_evaluation"]["accuracy"]
    clear = all(one.status == 2 and len(one.lines) == 1 for one in refusals)
    same = plain_accuracy == final
    yield (
        f"{'Yes' if same and clear else 'NOT as it should be'}: {record['data']['name']} and {record['model']['name']} went from "
        f"{start:.2f} to {final:.2f} on {record['data']['test']} held-out texts in {len(record['rounds'])} rounds of "
        f"{record['config']['federation']['num_clients']} clients (majority-class baseline: {record['data']['majority_rate']:.2f})."
    )
    yield (
        f"Loaded by transformers and PEFT alone, the adapter has {'the same' if same else 'ANOTHER'} accuracy, and the merged "
        f"model {'the same logits to rounding' if difference < 1e-9 else 'OTHER logits'}."
    )
    yield (
        f"Each of {len(refusals)} kinds of bad input {'ended in one line and status 2' if clear else 'did NOT end in one line'}, "
        "before anything was trained."
    )


def percent(share: float, digits: int = 0) -> str:
    """A share in per cent.

    Example:
        >>> percent(0.394), percent(1e-5, 3)
        ('39 %', '0.001 %')
    """
    return f"{100 * share:.{digits}f} %"


def _labels(names: Sequence[str] | set[str]) -> str:
    labels = [method_style(name).label for name in in_order(names)]
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def written(sentences: Iterator[str]) -> str:
    """The answer as Markdown: its first sentence in bold, what it rests on as a list."""
    first, *rest = sentences
    return f"**{findings.plain(first)}**\n\n{findings.bullets(rest)}"
