"""``python -m tests.tools.bench``: the engines against a plain PEFT loop and Flower's simulation, on the same job in one run.

Every contestant trains the same clients on the same batches from the same first adapter, in a process of its own, in turns.
Times are of the rounds alone: nobody's imports, model loading or evaluation is in them. The plain loop, and Flower's clients,
get their batches ready-made; the engines of this project make theirs within their time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from rich.table import Table

from rolora import config as configuration
from rolora import records
from rolora.cli.errors import one_line_errors
from rolora.config import Config
from rolora.errors import InputError
from tests.tools.bench import common, scaling
from tests.tools.bench.child import ENGINES
from tests.tools.bench.common import NotMeasured, console, job_table
from tests.tools.bench.contest import contest

WHOLE = tuple(name for name in ENGINES if not {"prefix_cache", "compile"} & set(ENGINES[name]))
"""The engines for adapters in all layers, below which there is nothing to keep, that need not compile for longer than the one
round that is measured for a number of clients."""

CONTESTANTS = ("plain", *ENGINES, "flower")
JOBS = {
    "all": ("adapters in all layers", None),
    "upper": ("adapters in the upper third of the layers", (4, 5)),
}
PARTS = (*JOBS, "clients")
CLIENTS = (3, 20, 50, 200)


def job(layers: tuple[int, ...] | None, algorithm: str = "rolora", **changes: int) -> dict[str, Any]:
    """The table of a job's config: 20 clients, batches of 8 texts of exactly 32 tokens, the packaged pretrained encoder.

    Args:
        layers: which have adapters; None for all.
        algorithm: of the rounds.
        changes: "clients", "rounds" and "local_steps".
    """
    sizes = {"clients": 20, "rounds": 2, "local_steps": 3} | changes
    return job_table(
        algorithm,
        batch_size=8,
        local_steps=sizes["local_steps"],
        model={"name": "all-MiniLM-L6-v2", "max_length": 32},
        lora={"rank": 4, "alpha": 8, "target_modules": ["query", "value"], "layers": layers},
        data={"name": "rotten-tomatoes", "validation_examples": 200, "test_examples": 400},
        federation={"num_clients": sizes["clients"], "rounds": sizes["rounds"], "client_weights": "examples"},
        training={"learning_rate": 0.005},
        evaluation={"every": sizes["rounds"]},
        runtime={"threads": len(os.sched_getaffinity(0))},
    )


def main() -> int:
    """Run what was asked for, print tables, write the record."""
    parser = common.parser("tests.tools.bench", __doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=[], help=f"parts ({', '.join(PARTS)}) or contestants"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="passes of each contestant")
    parser.add_argument("--algorithm", default="rolora", choices=("rolora", "fedavg-lora"))
    parser.add_argument("--rounds", type=int, default=2, metavar="N")
    parser.add_argument("--local-steps", type=int, default=3, metavar="N")
    parser.add_argument(
        "--clients", type=int, nargs="+", metavar="N", help="of the jobs (the first), and of the part clients"
    )
    parser.add_argument("--group-size", type=int, metavar="N", help="clients that the batched engine trains together")
    parser.add_argument(
        "--flower-python", default=sys.executable, metavar="PYTHON", help="an interpreter that has Flower"
    )
    arguments = parser.parse_args()
    with one_line_errors(arguments.debug):
        record = bench(arguments)
        if arguments.json is not None:
            records.write_json(arguments.json, record)
    return 0


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of all parts that were asked for."""
    parts, names = chosen(arguments.only)
    if arguments.repeats < 1:
        raise InputError(f"--repeats: got {arguments.repeats}, expected at least 1")
    runtime = {} if arguments.group_size is None else {"group_size": arguments.group_size}
    record: dict[str, Any] = {
        **common.head("tests.tools.bench"),
        "load_before": os.getloadavg()[0],
        "jobs": {},
    }
    console.print(
        f"{record['environment']['processor']}, {len(os.sched_getaffinity(0))} cores, load {record['load_before']:.2f}"
    )
    for part in (part for part in parts if part in JOBS):
        title, layers = JOBS[part]
        sizes = {"rounds": arguments.rounds, "local_steps": arguments.local_steps}
        sizes |= {"clients": arguments.clients[0]} if arguments.clients else {}
        config = configuration.check(job(layers, arguments.algorithm, **sizes), "bench")
        found = contest(
            config, names, arguments.repeats, arguments.flower_python, runtime,
            lambda text: console.print(text, markup=False, highlight=False, style="dim"),
        )  # fmt: skip
        record["jobs"][part] = found
        console.print(contest_table(f"{title}: {describe(config)}", found))
        notes(found["contestants"])
    if "clients" in parts:
        record["clients"] = by_clients(arguments.clients or CLIENTS, [name for name in names if name in WHOLE], runtime)
        console.print(clients_table(record["clients"]))
    record["load_after"] = os.getloadavg()[0]
    return record


def chosen(words: list[str]) -> tuple[list[str], list[str]]:
    """The parts and the contestants that ``--only`` names; all of a kind of which it names none.

    Raises:
        InputError: a word that is neither.

    Example:
        >>> chosen(["upper", "plain"])
        (['upper'], ['plain'])
    """
    for word in words:
        if word not in (*PARTS, *CONTESTANTS):
            raise InputError(f"--only: got {word}, expected some of {', '.join((*PARTS, *CONTESTANTS))}")
    return (
        [part for part in PARTS if part in words] or list(PARTS),
        [name for name in CONTESTANTS if name in words] or list(CONTESTANTS),
    )


def describe(config: Config) -> str:
    """A job in a line."""
    return (
        f"{config.algorithm}, {config.federation.num_clients} clients, {config.federation.rounds} rounds x "
        f"{config.training.local_steps} local steps, {config.training.batch_size} x {config.model.max_length} tokens, "
        f"{config.model.name}, r = {config.lora.rank}"
    )


def contest_table(title: str, found: dict[str, Any]) -> Table:
    """What was measured, a row a contestant."""
    table = common.table(
        title, "contestant", "min s", "median s", "max s", "ms a local step", "x plain", "(least to largest)", "difference",
        "of movement", "accuracy",
    )  # fmt: skip
    for name, entry in found["contestants"].items():
        if "not_measured" in entry:
            table.add_row(name, "not measured")
            continue
        speed, apart = entry.get("speed"), entry.get("difference")
        table.add_row(
            name,
            *(f"{entry[key]:.2f}" for key in ("min", "median", "max")),
            f"{1e3 * entry['median'] / found['client_steps']:.1f}",
            *((f"{speed['of_medians']:.2f}", f"{speed['least']:.2f} to {speed['largest']:.2f}") if speed else ("", "")),
            *((f"{apart:.1e}", f"{entry['difference_of_movement']:.1e}") if apart is not None else ("", "")),
            f"{entry['accuracy']:.4f}",
        )
        if "with_start" in entry:
            table.add_row(
                f"{name}, start of ray included",
                *(f"{entry['with_start'][key]:.2f}" for key in ("min", "median", "max")),
            )
    return table


def notes(entries: dict[str, Any]) -> None:
    """Why something was not measured."""
    for name, entry in entries.items():
        if "not_measured" in entry:
            console.print(
                f"{name}: not measured: {entry['not_measured']}", markup=False, highlight=False, soft_wrap=True
            )


def by_clients(counts: list[int] | tuple[int, ...], names: list[str], runtime: dict[str, Any]) -> list[dict[str, Any]]:
    """One round of FedAvg-LoRA, in which both factors move, with every engine for every number of clients."""
    rows = []
    for clients in counts:
        for name in names:
            table = job(None, "fedavg-lora", clients=clients, rounds=1, local_steps=2)
            table["runtime"] |= ENGINES[name] | runtime
            row: dict[str, Any] = {"clients": clients, "engine": name}
            try:
                row |= scaling.measure(table)
            except NotMeasured as error:
                row["not_measured"] = str(error)
            console.print(json.dumps(row), markup=False, highlight=False, style="dim")
            rows.append(row)
    return rows


def clients_table(rows: list[dict[str, Any]]) -> Table:
    """Time and memory against the number of clients."""
    table = common.table(
        "one round of fedavg-lora", "engine", "clients", "ms a local step", "MB before", "MB at the peak"
    )
    for row in rows:
        cells = ("not measured", "", row.get("not_measured"))
        if "not_measured" not in row:
            memory = (row["memory_before"], row["memory_peak"])
            cells = (
                f"{1e3 * row['client_step_seconds']:.1f}",
                *("" if one is None else f"{one:.0f}" for one in memory),
            )
        table.add_row(row["engine"], str(row["clients"]), *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
