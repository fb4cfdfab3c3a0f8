"""Small computations that notebooks repeat beside the records, with a progress bar."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from paper_figures.analysis import nonlinear_model
from paper_figures.drawing.table import Table, number
from paper_figures.notebook_support.progress import bar, of_events
from paper_figures.records.sources import COMMITTED, Records
from paper_figures.tables.tab_claims import CONTROL
from rolora.errors import InputError
from rolora.experiment.progress import Event
from rolora.keys import Key

SEED = 1
"""The root of the new draws; the committed records are made from 0."""


def linear(draws: int = 3, rounds: int = 60, seed: int = SEED) -> Records:
    """New draws of the linear model's trajectories, as a record that the figures of the committed one take.

    Args:
        draws: of truth, data and start.
        rounds: few enough that no distance is rounding, which another machine rounds otherwise.
        seed: of the draws.
    """
    from theory.studies import linear as simulate

    parameters = replace(simulate.LinearParameters(), num_seeds=draws, num_rounds=rounds)
    series = []
    with bar("linear model") as advance:
        for number in range(draws):
            key = Key(seed).fold("theory", "linear", "draw", number)
            series += simulate.linear_trajectories(key.fold("homogeneous"), number, parameters)
            advance((number + 0.5) / draws)
            series += simulate.heterogeneous_trajectories(key.fold("heterogeneous"), number, parameters)
            advance((number + 1) / draws)
    found = {"parameters": simulate.asdict(parameters), "series": series}
    return Records(COMMITTED, linear=found)


def digits(records: Records, panel: str = "10 clients x 1 label", seed: int = SEED) -> Records:
    """One new draw of a panel of the digits: all methods over the whole grid of rates, as a record.

    Args:
        records: the committed ones; their sizes are taken.
        panel: its name.
        seed: of split, partition, first adapter and batches.

    Raises:
        InputError: there is no such panel.
    """
    from theory.studies import nonlinear

    known = {one.name: one for one in nonlinear.PANELS}
    if panel not in known:
        raise InputError(f"panel: got {panel!r}, expected one of {', '.join(known)}")
    images, settings = nonlinear.find_images("digits"), replace(nonlinear.Settings(), seeds=1)
    series = []
    with bar("two-layer model") as advance:
        for done, method in enumerate(nonlinear.METHODS):
            advance(done / len(nonlinear.METHODS))
            series += nonlinear.train(known[panel], method, Key(seed), images, settings)
        advance(1.0)
    parameters = records["nonlinear"]["parameters"]
    kept = parameters | {
        "seeds": 1,
        "panels": [one for one in parameters["panels"] if one["name"] == panel],
    }
    return Records(COMMITTED, nonlinear=records["nonlinear"] | {"parameters": kept, "series": series})


def toy_layers(seed: int = 0) -> dict[str, list[dict[str, dict[str, float | None]]]]:
    """Return what every method loses on the toy layers (:func:`theory.studies.toy_layers.lost`)."""
    from theory.studies.toy_layers import lost

    with bar("all methods on toy layers") as advance:
        return lost(seed, progress=advance)


@dataclass(frozen=True)
class Rerun:
    """The first rounds of a committed run, made again.

    Args:
        committed: its record.
        made: the record of the rounds made here.
    """

    committed: dict[str, Any]
    made: dict[str, Any]

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """The loss of each round in the record and made again."""
        kept = self.committed["rounds"][: len(self.made["rounds"])]
        return [(old["loss"], new["loss"]) for old, new in zip(kept, self.made["rounds"], strict=True)]

    @property
    def agrees(self) -> bool:
        """True if losses agree to a thousandth and the bytes that were sent exactly."""
        same = ("trained", "clients", "bytes_up", "bytes_down", "bytes_joining")
        rounds = zip(self.committed["rounds"], self.made["rounds"], strict=False)
        kept = all(old[name] == new[name] for old, new in rounds for name in same)
        return kept and all(abs(new - old) <= 1e-3 * abs(old) for old, new in self.pairs)

    def table(self) -> Table:
        """One row a round."""
        rows = tuple(
            (str(new["round"] + 1), ", ".join(new["trained"]), f"{old:.3f}", f"{loss:.3f}", f"{sum(new['bytes_up'].values()):,}")
            for new, (old, loss) in zip(self.made["rounds"], self.pairs, strict=True)
        )  # fmt: skip
        columns = ("round", "trained", "training loss in the record", "made again", "bytes up, both")
        verdict = "agree: losses to a thousandth, bytes exactly." if self.agrees else "do NOT agree."
        return Table(
            "again", columns, rows, (f"{self.committed['name']}: record and rerun {verdict}",), frozenset(columns[2:])
        )


def first_rounds(records: Records, method: str = "rolora", num_clients: int = 3, rounds: int = 4) -> Rerun:
    """Train the first rounds of a committed run again, from its record alone.

    Args:
        records: with fine-tuning runs.
        method: of the run.
        num_clients: of the run.
        rounds: how many.

    Raises:
        InputError: there is no such run.
    """
    runs = [
        run
        for run in records["finetuning"]
        if run["config"]["algorithm"] == method
        and run["config"]["federation"]["num_clients"] == num_clients
        and run["config"]["federation"].get("client_state", "isolated") == "isolated"
    ]
    if not runs:
        raise InputError(f"finetuning records: expected a run of {method} with {num_clients} clients; there is none")
    run = min(runs, key=lambda run: run["seed"])
    with bar(f"{run['name']}, {rounds} rounds") as advance:
        return Rerun(run, _begun(run, rounds, of_events(advance), evaluation={"split": "validation"}))


def _begun(
    run: dict[str, Any], rounds: int, progress: Callable[[Event], None] | None = None, **changes: dict[str, Any]
) -> dict[str, Any]:
    """The record of a run's first rounds, trained again from its record alone.

    Args:
        run: its record. The learning text is what the split leaves: only what is measured, and when, is changed.
        rounds: how many.
        progress: is told of events.
        changes: section of the config -> what else is changed there.
    """
    from rolora import config
    from rolora.experiment import loop

    changed = {
        "federation": {"rounds": rounds},
        "evaluation": {"every": rounds} | changes.pop("evaluation", {}),
    } | changes
    table = run["config"] | {section: run["config"][section] | fields for section, fields in changed.items()}
    with tempfile.TemporaryDirectory() as folder:
        return loop.run(config.check(table, run["name"]), Path(folder) / "run", progress=progress)


def chain(records: Records, method: str = "rolora", num_clients: int = 3) -> Table:
    """The first round of two committed runs again, one with isolated and one with chained clients: how far each goes.

    Args:
        records: with the runs on movement.
        method: of both.
        num_clients: of both.

    Raises:
        InputError: there are no such runs.
    """
    names, rows, ratios = ("isolated", "chained"), [], []
    pair = [
        run
        for state in names
        for run in records["movement"]
        if run["config"]["algorithm"] == method
        and run["config"]["training"]["optimizer"] == "adamw"
        and run["config"]["federation"]["num_clients"] == num_clients
        and run["config"]["federation"].get("client_state", "isolated") == state
        and run["seed"] == 0
    ]
    if len(pair) != len(names):
        raise InputError(
            f"movement records: expected an isolated and a chained run of {method} with {num_clients} clients; there are {len(pair)}"
        )
    with bar(f"one round of {num_clients} clients, twice") as advance:
        for done, run in enumerate(pair):
            made = _begun(run, 1, runtime={"prefix_cache": False})  # which one round does not pay back
            ratios.append([one["rounds"][0]["moved"]["B"] for one in (run, made)])
            advance((done + 1) / len(pair))
    for state, (kept, again) in zip(names, ratios, strict=True):
        rows.append((state, f"{kept:.2f}", f"{again:.2f}"))
    (alone, alone_again), (together, together_again) = ratios
    rows.append(("chained / isolated", f"{together / alone:.2f}", f"{together_again / alone_again:.2f}"))
    columns = ("clients", "movement of B in the record", "made again")
    note = (
        f"{num_clients} clients: (N + 1)/2 = {(num_clients + 1) / 2:g}. The record is from {pair[0]['environment']['processor']}, in "
        "bfloat16, which another processor rounds otherwise."
    )
    return Table("One round, isolated and chained", columns, tuple(rows), (note,), frozenset(columns[1:]))


def ends(record: dict[str, Any], panel: str) -> dict[str, dict[float, float]]:
    """Method -> learning rate -> final accuracy on one panel, the mean over seeds."""
    (found,) = [one for one in nonlinear_model.panels(record) if one.name == panel]
    window = record["parameters"]["window"]
    return {
        name: {rate: float(np.mean(nonlinear_model.finals(runs, window))) for rate, runs in sorted(rates.items())}
        for name, rates in found.grid.items()
    }


def audits(seed: int = 0) -> Table:
    """The audits of the papers' printed digits, made now: measured beside predicted, verdict, control."""
    from theory.verification.registry import names
    from theory.verification.runner import Failure, check_all

    chosen = [name for name in names() if name.startswith("audit-")]
    with bar("audits of printed digits") as advance:
        done = iter(range(1, len(chosen) + 1))
        found = check_all(chosen, seed, 1, lambda name: advance(next(done) / len(chosen)))
    failed = [outcome for outcome in found if isinstance(outcome, Failure)]
    if failed:
        raise InputError(f"{failed[0].id}: {failed[0].error}")
    rows = tuple(
        (
            one["id"].removeprefix("audit-"),
            one["statement"],
            number(one["measured"], 4),
            number(one["predicted"], 4),
            one["verdict"],
            one["control_verdict"],
        )
        for one in (outcome.as_record() for outcome in found)
    )
    columns = ("audit", "statement", "measured", "predicted", "verdict", "control")
    return Table("Audits of the printed digits", columns, rows, (CONTROL,), frozenset({"measured", "predicted"}))
