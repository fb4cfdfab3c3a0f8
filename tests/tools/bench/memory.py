"""``python -m tests.tools.bench.memory --json FILE``: the memory of whole runs on a GPU against what ``rolora plan`` says.

Each run has a process of its own, random weights and texts that fill ``model.max_length``, and is planned from the config that
it runs. Measured is the peak of what torch had allocated; the plan counts the same and leaves out the device's context.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from rolora import config as configuration
from rolora import records
from rolora.cli.errors import one_line_errors
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import architectures
from rolora.planning import plan as planning
from tests.tools.bench import common
from tests.tools.bench.common import NotMeasured, in_a_process, job_table
from tests.tools.bench.gpu import hardware

ROWS = {"roberta-large": 32, "deberta-v2-xlarge": 16, "llama-2-7b": 4}
TOKENS = {"roberta-large": 128, "deberta-v2-xlarge": 128, "llama-2-7b": 512}
WORDS = ("film", "story", "actor", "scene", "music", "voice", "light", "house")

CASES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "roberta-large": ("roberta-large", {}),
    "roberta-large, 4 bit": ("roberta-large", {"model": {"quantization": "4bit"}}),
    "roberta-large, groups of 4": ("roberta-large", {"runtime": {"engine": "batched", "group_size": 4}}),
    "deberta-v2-xlarge": ("deberta-v2-xlarge", {}),
    "deberta-v2-xlarge, 4 bit": ("deberta-v2-xlarge", {"model": {"quantization": "4bit"}}),
    "llama-2-7b": ("llama-2-7b", {}),
    "llama-2-7b, layers computed again": ("llama-2-7b", {"runtime": {"gradient_checkpointing": True}}),
    "llama-2-7b, 4 bit": ("llama-2-7b", {"model": {"quantization": "4bit"}}),
}
"""Name -> architecture, and what of the config differs from the architecture's own; all in bfloat16."""


def config_of(case: str, data: Path, device: str, stand_in: str | None) -> configuration.Config:
    """The case's config: one round of FedAvg-LoRA, in which both factors move, of two clients' two steps.

    Args:
        case: of :data:`CASES`.
        data: the file of texts.
        device: as ``runtime.device``.
        stand_in: another architecture, for a dry run.
    """
    architecture, changes = CASES[case]
    decoder = architecture.startswith("llama")
    rows = 2 if stand_in else ROWS[architecture]
    table = job_table(
        "fedavg-lora",
        batch_size=rows,
        local_steps=2,
        model={
            "name": architectures.RANDOM + (stand_in or architecture), "weights": "random",
            "max_length": 16 if stand_in else TOKENS[architecture],
        },
        lora={"rank": 8, "alpha": 16},
        data={"name": str(data), "text_columns": ("text",), "validation_examples": rows, "test_examples": rows},
        federation={"num_clients": 4, "clients_per_round": 4},
        training={"weight_decay": 0.0},
        evaluation={"batch_size": rows},
        runtime={"device": device, "dtype": "bfloat16", "engine": "sequential"},
    )  # fmt: skip
    if decoder:
        table["data"] |= {"task": "generation"}
    for section, values in changes.items():
        table[section] |= values
    if stand_in:
        table["model"] |= {"quantization": "none"}
    return configuration.check(table, case)


def write_texts(path: Path, rows: int, words: int) -> None:
    """Rows of random words, longer than any ``max_length``, with a label and a response."""
    stream = Key(0).fold("bench", "memory").generator()
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            drawn = [WORDS[one] for one in stream.integers(0, len(WORDS), size=2 * words)]
            row = {"text": " ".join(drawn[:words]), "label": number % 2, "response": " ".join(drawn[words:])}
            file.write(json.dumps(row) + "\n")


def measure(case: str, device: str, stand_in: str | None) -> dict[str, Any]:
    """Plan the case, run it, and compare; in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "texts.jsonl"
        write_texts(data, 400, 600)
        config = config_of(case, data, device, stand_in)
        planned = planning.plan(config, flops_per_second=1.0)
        started = time.perf_counter()
        record = loop.run(config, Path(folder) / "run")
        seconds = time.perf_counter() - started
    on_gpu = device.startswith("cuda")
    peak = torch.cuda.max_memory_allocated() if on_gpu else None
    return {
        "config": record["config"] | {"data": record["config"]["data"] | {"name": "random words"}},
        "parameters": planned.model["parameters"],
        "planned": dict(planned.memory),
        "measured": peak,
        "reserved": torch.cuda.max_memory_reserved() if on_gpu else None,
        "measured_over_planned": peak / planned.memory["in all"] if peak is not None else None,
        "seconds": seconds,
    }


def by_processes(cases: Sequence[str], jobs: int, words: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each case's result, or the last line of what its process said when it failed."""

    def one(case: str) -> tuple[str, dict[str, Any]]:
        try:
            return case, in_a_process("tests.tools.bench.memory", *words, "--case", case)
        except NotMeasured as error:
            return case, {"not_measured": str(error)}

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, cases)


def summary(found: Mapping[str, Any]) -> str:
    """One case in a line."""
    if "not_measured" in found:
        return f"not measured: {found['not_measured']}"
    planned = f"planned {found['planned']['in all'] / 1e9:.2f} GB"
    if found["measured"] is None:
        return f"{planned}, no GPU to measure on"
    return f"{planned}, measured {found['measured'] / 1e9:.2f} GB, {found['measured_over_planned']:.3f} of the plan"


def main() -> int:
    """Measure the cases that were asked for."""
    parser = common.parser("tests.tools.bench.memory", __doc__)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, all on the one GPU")
    parser.add_argument("--stand-in", choices=tuple(architectures.ARCHITECTURES), help="a dry run with it on the CPU")
    parser.add_argument("--case", choices=tuple(CASES), help="measure one in this process and print its JSON")
    arguments = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with one_line_errors(arguments.debug):
        if arguments.stand_in is None and not torch.cuda.is_available():
            raise InputError("got no CUDA device, expected one; --stand-in makes a dry run on the CPU")
        device = "cpu" if arguments.stand_in else "cuda"
        if arguments.case:
            print(json.dumps(measure(arguments.case, device, arguments.stand_in)))
            return 0
        words = ["--stand-in", arguments.stand_in] if arguments.stand_in else []
        record: dict[str, Any] = common.head("tests.tools.bench.memory") | {"cases": {}}
        record["environment"] |= hardware(torch.device(device))
        for case, found in by_processes(arguments.cases, arguments.jobs, words):
            record["cases"][case] = found
            print(f"{case}: {summary(found)}", flush=True)
            if arguments.json:
                records.write_json(arguments.json, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
