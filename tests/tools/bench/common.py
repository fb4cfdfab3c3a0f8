"""What the benchmarks share: options, the head of a record, tables, a job's config, a measurement in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rolora import records

ROOT = Path(__file__).resolve().parents[3]
PLACES = {"--json": "FILE", "--flower-python": "PYTHON"}
"""Options that name a path -> what stands for it in a record."""

console = Console(width=None if sys.stdout.isatty() else 160)


class NotMeasured(Exception):
    """A contestant that could not run; the text says why."""


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser that has the options of every benchmark."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description.splitlines()[0])
    made.add_argument("--debug", action="store_true", help="show a traceback instead of one line")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the record here")
    return made


def head(module: str) -> dict[str, Any]:
    """Return what every record begins with: the command, the code's version, the machine."""
    return {"command": shown(module, sys.argv[1:]), "code": records.code(), "environment": records.environment()}


def shown(module: str, words: Sequence[str]) -> str:
    """Return the command as a reader types it, without the paths of the machine that ran it.

    Example:
        >>> shown("tests.tools.bench", ["--repeats", "2", "--json", "a/b.json", "--flower-python=c/python"])
        'python -m tests.tools.bench --repeats 2 --json FILE --flower-python=PYTHON'
    """
    line = ["python", "-m", module]
    for before, word in zip(("", *words), words, strict=False):
        option, equals, _ = word.partition("=")
        line.append(PLACES.get(before) or (f"{option}={PLACES[option]}" if equals and option in PLACES else word))
    return " ".join(line)


def table(title: str, left: str, *right: str) -> Table:
    """Return an empty table: one column of names and columns of numbers."""
    made = Table(title=title, box=None, title_justify="left")
    made.add_column(left)
    for name in right:
        made.add_column(name, justify="right")
    return made


def job_table(algorithm: str, *, batch_size: int, local_steps: int, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of a job's config: one round of AdamW's steps without dropout, unless ``sections`` say otherwise."""
    shared: dict[str, dict[str, Any]] = {
        "model": {"head": "trained", "dropout": 0.0},
        "lora": {"dropout": 0.0},
        "federation": {"rounds": 1, "partition": "iid", "client_weights": "uniform"},
        "training": {
            "optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01, "local_steps": local_steps,
            "batch_size": batch_size,
        },
        "evaluation": {"every": 1},
    }  # fmt: skip
    merged = {section: shared.get(section, {}) | dict(sections.get(section, {})) for section in {**shared, **sections}}
    return {"algorithm": algorithm, "seed": 0, **merged}


def environment() -> dict[str, str]:
    """Return the environment of a process that is measured: it sets its number of threads itself."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {key: value for key, value in os.environ.items() if key not in threads}
    return kept | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def in_a_process(module: str, *words: str) -> dict[str, Any]:
    """Run a module and return the JSON of the last line that it prints.

    Raises:
        NotMeasured: it failed; the text is the last line of its error.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing"]
        raise NotMeasured(f"status {done.returncode}: {lines[-1].removeprefix('error: ')[:400]}")
    return json.loads(done.stdout.splitlines()[-1])
