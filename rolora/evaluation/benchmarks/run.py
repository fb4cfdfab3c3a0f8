"""``python -m rolora evaluate``: everything is checked before the model is loaded, and the model is loaded once."""

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
"""Seconds between two lines where there is no terminal to draw a bar on."""


@dataclass(frozen=True)
class Request:
    """The words of the command line."""

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
        console: to print on.
        request: what to measure.
        words: of the command line, for the record.

    Raises:
        InputError: anything that cannot be met; known before the model is loaded as far as it can be.
    """
    if request.template not in (None, "plain", "alpaca", "chat"):
        raise InputError(f"--template: got {request.template!r}, expected plain, alpaca or chat")
    if request.dtype not in precision.DTYPES:
        raise InputError(f"--dtype: got {request.dtype!r}, expected one of {', '.join(precision.DTYPES)}")
    earlier = report.read(request.against) if request.against else None
    chosen = questions.named(request.benchmarks)
    plan = [(one, questions.ways(one, request.how)) for one in chosen]
    if any(way != "generation" for _, ways in plan for way in ways):
        require_harness()
    asked = {
        one.name: questions.ask(
            one, request.data, request.split, request.limit, request.shots, request.seed, request.subjects
        )
        for one in chosen
    }
    sandbox = _sandbox(request, any(one.generation and one.generation.executes for one in chosen))
    runtime = RuntimeConfig(device=request.device, dtype=request.dtype, threads=request.threads)
    environment = precision.apply(runtime) | {"batch_size": request.batch_size}
    decoder = decoders.load(request.model, precision.DTYPES[request.dtype], precision.device(runtime))
    settings = Settings(request.batch_size, request.template, request.max_new_tokens, sandbox)
    results: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    total = sum(len(ways) for _, ways in plan)
    with _Bars(console) as bars:
        for one, ways in plan:
            for way in ways:
                results.append(measure(decoder, asked[one.name], way, settings, bars.show))
                if earlier is not None and len(results) == total:
                    compared = report.against(earlier, results, request.against)
                if request.json_file is not None:  # after each, so that an interrupt costs one benchmark and not all
                    written = report.record(decoder.described, results, environment, words, request.seed)
                    written["complete"] = len(results) == total
                    written |= {"against": {"model": earlier["model"], "comparisons": compared}} if compared else {}
                    records.write_json(request.json_file, written)
    console.print(report.table(results))
    if compared:
        console.print("", report.comparison_table(compared))
    for line in report.remarks(results):
        console.print(line, markup=False, highlight=False)


def _sandbox(request: Request, executable: bool) -> Sandbox | None:
    """Tried before a model is loaded; generated programs are not run unless the user asks for it."""
    if request.unisolated and not request.execute:
        raise InputError("--without-isolation: expected --execute-generated-code with it")
    if not request.execute:
        return None
    if not executable:
        raise InputError("--execute-generated-code: expected --benchmark humaneval, the one whose answers are programs")
    return open_sandbox(unisolated=request.unisolated)


def write_training_rows(benchmarks: Sequence[str], data: Path | None, template: str | None, out: Path) -> str:
    """Write prompts and responses of one or several benchmarks, one after another, and say how many.

    Raises:
        InputError: a benchmark without training rows, or no data.
    """
    if template not in (None, "plain", "alpaca"):
        raise InputError(f"--template: got {template!r}, expected plain or alpaca")
    rows = [row for one in questions.named(benchmarks) for row in questions.training_rows(one, data, template)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    records.write_bytes(out, lines.encode())
    return f"{out}: {len(rows):,} rows"


class _Bars:
    """A bar for each benchmark on a terminal; elsewhere a line from time to time, with what is left."""

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

    def show(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` texts are through."""
        now = time.monotonic()
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
            self.started[what] = now
        self.bars.update(self.tasks[what], completed=done)
        if not self.console.is_terminal and now - self.printed > LINE_SECONDS:
            self.printed = now
            spent = now - self.started[what]
            left = f", about {spent * (total - done) / done:.0f} s left" if spent else ""
            self.console.print(f"{what}: {done}/{total}{left}", highlight=False, soft_wrap=True)
