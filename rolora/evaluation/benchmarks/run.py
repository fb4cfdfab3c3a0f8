"""``python -m rolora evaluate``: checks everything, then loads the model once and measures it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rolora import records
from rolora.config import RuntimeConfig
from rolora.errors import InputError
from rolora.evaluation.benchmarks import decoder as decoders
from rolora.evaluation.benchmarks import questions, report
from rolora.evaluation.benchmarks.likelihood import require_harness
from rolora.evaluation.benchmarks.measure import Settings, measure
from rolora.evaluation.benchmarks.sandbox import Sandbox, open_sandbox
from rolora.models import precision

LINE_SECONDS = 20.0
"""Seconds between two progress lines where there is no terminal."""


@dataclass(frozen=True)
class Request:
    """Options of the command."""

    model: str
    benchmarks: tuple[str, ...]
    data: Path | None = None
    split: str | None = None
    how: str | None = None
    limit: int | None = None
    subjects: tuple[str, ...] = ()
    shots: int | None = None
    template: str | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    json_file: Path | None = None
    against: Path | None = None
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    batch_size: int = 8
    execute: bool = False
    unisolated: bool = False


def evaluate(console: Console, request: Request, words: Sequence[str]) -> None:
    """Measure, print, and write the record.

    Args:
        console: for the tables.
        request: options of the command.
        words: of the command line, for the record.

    Raises:
        InputError: a request that cannot be met; raised before the model is loaded as far as possible.
    """
    if request.template not in (None, "plain", "alpaca", "chat"):
        raise InputError(key="--template", got=request.template, expected="plain, alpaca or chat")
    if request.dtype not in precision.DTYPES:
        raise InputError(key="--dtype", got=request.dtype, expected=f"one of {', '.join(precision.DTYPES)}")
    earlier = report.read(request.against) if request.against else None
    chosen = questions.named(request.benchmarks)
    ways = {benchmark.name: questions.ways(benchmark, request.how) for benchmark in chosen}
    if any(way != "generation" for names in ways.values() for way in names):
        require_harness()
    sets = [
        questions.select(
            benchmark, request.data, request.split, request.limit, request.shots, request.seed, request.subjects
        )
        for benchmark in chosen
    ]
    tasks = [(selected, way) for selected in sets for way in ways[selected.benchmark.name]]
    sandbox = _sandbox(request, any(benchmark.generation and benchmark.generation.executes for benchmark in chosen))
    runtime = RuntimeConfig(device=request.device, dtype=request.dtype, threads=request.threads)
    environment = precision.apply(runtime) | {"batch_size": request.batch_size}
    decoder = decoders.load(request.model, precision.DTYPES[request.dtype], precision.device(runtime))
    settings = Settings(request.batch_size, request.template, request.max_new_tokens, sandbox)
    results: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    with _Bars(console) as bars:
        for selected, way in tasks:
            results.append(measure(decoder, selected, way, settings, bars.show))
            complete = len(results) == len(tasks)
            if earlier is not None and complete:
                compared = report.against(earlier, results, request.against)
            if request.json_file is not None:  # after each, so that an interrupt costs one benchmark and not all
                written = report.record(decoder.described, results, environment, words, request.seed)
                written["complete"] = complete
                written |= {"against": {"model": earlier["model"], "comparisons": compared}} if compared else {}
                records.write_json(request.json_file, written)
    console.print(report.table(results))
    if compared:
        console.print("", report.comparison_table(compared))
    for line in report.remarks(results):
        console.print(line, markup=False, highlight=False)


def _sandbox(request: Request, executable: bool) -> Sandbox | None:
    """Return a tried sandbox, or None where generated programs are not to be run."""
    if request.unisolated and not request.execute:
        raise InputError(key="--without-isolation", expected="--execute-generated-code with it")
    if not request.execute:
        return None
    if not executable:
        raise InputError(
            key="--execute-generated-code", expected="--benchmark humaneval, the one whose answers are programs"
        )
    return open_sandbox(unisolated=request.unisolated)


def write_training_rows(benchmarks: Sequence[str], data: Path | None, template: str | None, out: Path) -> str:
    """Write prompts and responses of benchmarks as JSON lines and return a report line.

    Raises:
        InputError: a benchmark without training rows, or no data.
    """
    if template not in (None, "plain", "alpaca"):
        raise InputError(key="--template", got=template, expected="plain or alpaca")
    rows = [row for chosen in questions.named(benchmarks) for row in questions.training_rows(chosen, data, template)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    records.write_bytes(out, lines.encode())
    return f"{out}: {len(rows):,} rows"


class _Bars:
    """A progress bar a task on a terminal; elsewhere a line every 20 seconds with an estimate of the time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.tasks: dict[str, object] = {}
        self.started: dict[str, float] = {}
        self.printed = time.monotonic()

    def __enter__(self) -> _Bars:
        self.bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bars.stop()

    def show(self, task: str, completed: int, total: int) -> None:
        """Report that ``completed`` of ``total`` texts are finished."""
        now = time.monotonic()
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(task, total=total)
            self.started[task] = now
        self.bars.update(self.tasks[task], completed=completed)
        if not self.console.is_terminal and now - self.printed > LINE_SECONDS:
            self.printed = now
            spent = now - self.started[task]
            left = f", about {spent * (total - completed) / completed:.0f} s left" if spent else ""
            self.console.print(f"{task}: {completed}/{total}{left}", highlight=False, soft_wrap=True)
