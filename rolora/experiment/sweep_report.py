"""The result of a sweep: a record with every run's name, and a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table

from rolora.config import Config
from rolora.errors import InputError
from rolora.evaluation import selection
from rolora.evaluation.intervals import MeanInterval, student
from rolora.experiment.progress import named
from rolora.experiment.sweep import WITHIN_CELL, Cell, Choice, Measured, Protocol, Rate, differing, label, rate_text

FORMAT = 1
"""The version of sweep.json's layout."""

METHOD = ("algorithm", "method", "server")
"""The sections of a config by which two methods differ in one setting."""

Outcome = Sequence[tuple[Choice, Measured]]
"""Every cell's choice and its measuring runs."""


def check_reference(cells: Sequence[Cell], protocol: Protocol) -> None:
    """Refuse a reference that no cell has, before anything is run.

    Raises:
        InputError: no cell has this method.
    """
    methods = list(dict.fromkeys(cell.any.algorithm for cell in cells))
    if protocol.reference is not None and protocol.reference not in methods:
        raise InputError(key="--reference", got=protocol.reference, expected=f"one of {', '.join(methods)}")


def as_record(outcome: Outcome, protocol: Protocol) -> dict[str, Any]:
    """Return the sweep's record: protocol, and for every cell its settings, rates, choice, test metrics and differences."""
    settings = differing([choice.cell.any for choice, _ in outcome])
    rows = [
        {"settings": own, **_row(choice, runs, protocol)} for own, (choice, runs) in zip(settings, outcome, strict=True)
    ]
    _compare(rows, outcome, protocol)
    return {"format": FORMAT, "protocol": asdict(protocol), "cells": rows}


def _row(choice: Choice, runs: Measured, protocol: Protocol) -> dict[str, Any]:
    records = [runs[choice.rate, seed] for seed in protocol.seeds]
    metric = selection.primary(records[0]["final"])
    values = [record["final"][metric] for record in records]
    row: dict[str, Any] = {
        "metric": metric,
        "rates": [
            {
                "rate": _rate(rate),
                "validation": float(np.mean(choice.validation[rate])),
                "validation_by_seed": list(choice.validation[rate]),
                "runs": list(choice.runs[rate]),
            }
            for rate in choice.validation
        ],
        "chosen": _rate(choice.rate),
        "at_edge": bool(choice.validation) and choice.cell.at_edge(choice.rate),
        "test": student(values).as_dict() | {"by_seed": values, "runs": [record["name"] for record in records]},
        "rounds": [record.get("selected_round", len(record["rounds"]) - 1) for record in records],
    }
    return row | ({"papers_protocol": _papers(choice.cell, runs, protocol, metric)} if protocol.papers_protocol else {})


def _papers(cell: Cell, runs: Measured, protocol: Protocol, metric: str) -> dict[str, Any]:
    """The best round of every run and the best rate, both on the test text itself."""
    values = {
        rate: [runs[rate, seed]["final_papers_protocol"][metric] for seed in protocol.seeds] for rate in cell.rates
    }
    best = max(values, key=lambda rate: selection.goodness(metric, float(np.mean(values[rate]))))
    return student(values[best]).as_dict() | {
        "by_seed": values[best],
        "chosen": _rate(best),
        "runs": [runs[rate, seed]["name"] for rate in cell.rates for seed in protocol.seeds],
        "note": "round and rate chosen on the test text: optimistic, for comparison with the papers alone",
    }


def _rate(rate: Rate) -> dict[str, float]:
    return {"learning_rate": rate[0]} | ({"learning_rate_a": rate[1]} if rate[1] else {})


def _compare(rows: Sequence[dict[str, Any]], outcome: Outcome, protocol: Protocol) -> None:
    """Add to every row its difference from the reference method in the same setting, seed by seed."""
    places = [_place(choice.cell.any) for choice, _ in outcome]
    names = [choice.cell.any.algorithm for choice, _ in outcome]
    reference = protocol.reference or ("fedavg-lora" if "fedavg-lora" in names else names[0])
    for row, place, name in zip(rows, places, names, strict=True):
        same = [
            other for other, its, called in zip(rows, places, names, strict=True) if (its, called) == (place, reference)
        ]
        if name == reference or len(same) != 1:  # of two references in one setting none is the one
            continue
        pairs = zip(row["test"]["by_seed"], same[0]["test"]["by_seed"], strict=True)
        differences = [own - other for own, other in pairs]
        row["difference"] = {"reference": reference, "by_seed": differences} | student(differences).as_dict()


def _place(config: Config) -> str:
    return json.dumps(config.without(*WITHIN_CELL, *METHOD), sort_keys=True)


def table(record: dict[str, Any]) -> Table:
    """Return the table of a sweep's record."""
    rows, protocol = record["cells"], record["protocol"]
    metric = named(rows[0]["metric"])
    references = {row["difference"]["reference"] for row in rows if "difference" in row}
    chosen_on = "validation" if protocol["select"] == "validation" or protocol["papers_protocol"] else "last"
    counting = {"validation": "the best on validation text", "last": "the last"}[chosen_on]
    table = Table(
        box=None,
        title_justify="left",
        caption_justify="left",
        caption=f"Learning rate chosen on validation text with seeds {_listed(protocol['select_seeds'])}; round that counts: "
        f"{counting}. Test: mean of {len(protocol['seeds'])} seeds ± half of Student's 95 % interval. *: at the edge of its "
        "grid." + (f" {PAPERS}" if protocol["papers_protocol"] else ""),
    )
    columns = ["cell", "rate", f"validation {metric} by rate", f"test {metric}"]
    columns += [f"less {name}, by seed" for name in sorted(references)]
    columns += ["selection on test data (rate)"] * protocol["papers_protocol"]
    for name in columns:
        table.add_column(name, justify="left" if name == "cell" else "right")
    for row in rows:
        table.add_row(*_cells(row, bool(references), protocol["papers_protocol"]))
    return table


PAPERS = "Selection on test data: best round and best rate on the test text itself; optimistic."


def _cells(row: dict[str, Any], compared: bool, papers: bool) -> list[str]:
    shown = [
        label(row["settings"]),
        _shown(row["chosen"]) + "*" * row["at_edge"],
        "  ".join(f"{_shown(tried['rate'])}: {tried['validation']:.3f}" for tried in row["rates"]) or "one rate",
        _mean(row["test"]),
    ]
    if compared:
        shown.append(_mean(row["difference"], sign=True) if "difference" in row else "")
    if papers:
        shown.append(f"{_mean(row['papers_protocol'])} ({_shown(row['papers_protocol']['chosen'])})")
    return shown


def _shown(rate: dict[str, float]) -> str:
    return rate_text((rate["learning_rate"], rate.get("learning_rate_a")))


def _mean(mean: dict[str, Any], sign: bool = False) -> str:
    return MeanInterval(mean["mean"], mean["half_width"], mean["n"]).text(sign=sign)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
