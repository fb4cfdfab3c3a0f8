"""Tables and record of an evaluation, and its comparison with an earlier record."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from rolora import records
from rolora.errors import InputError
from rolora.evaluation.intervals import paired

KIND = "evaluation"
"""Kind of this record, to distinguish it from a run's."""

PER = {"sum": "sum", "character": "per character", "token": "per token"}


def record(
    model: dict[str, Any],
    results: Sequence[dict[str, Any]],
    environment: dict[str, Any],
    words: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return the JSON record of one evaluation, independent of the folder it is written to."""
    return {
        "format": records.FORMAT,
        "kind": KIND,
        "command": shlex.join(["python", "-m", "rolora", "evaluate", *words]),
        "code": records.code(),
        "environment": records.environment() | environment,
        "model": model,
        "seed": seed,
        "results": list(results),
    }


def table(results: Sequence[dict[str, Any]]) -> Table:
    """Return the table of results, accuracies in percent."""
    shown = Table(box=None)
    for name in ("benchmark", "split", "how"):
        shown.add_column(name)
    names = ("questions", "accuracy", "95 % interval", "chance", "majority", "other", "unread", "s/question")
    for name in names:
        shown.add_column(name, justify="right")
    for result in results:
        shown.add_row(
            result["benchmark"],
            result["split"],
            result["how"] + (f", {result['shots']}-shot" if result["shots"] else ""),
            f"{result['questions']:,} of {result['available']:,}",
            percent(result.get("accuracy")),
            " to ".join(percent(bound) for bound in result["interval"]) if "interval" in result else "-",
            percent(result.get("chance")),
            percent(result.get("majority")),
            _other(result),
            percent(result.get("unreadable")),
            f"{result['seconds'] / result['questions']:.2f}",
        )
    return shown


def percent(share: float | None) -> str:
    """Example:
    >>> percent(0.25), percent(None)
    ('25.0', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}"


def _other(result: dict[str, Any]) -> str:
    """Return further figures of a result: other normalisations, the mean over subjects, a loss."""
    parts = [
        f"{PER[by]} {percent(share)}"
        for by, share in result.get("accuracy_by", {}).items()
        if by != result["normalisation"] and result["how"] == "likelihood"
    ]
    if "macro_accuracy" in result:
        parts = [f"macro {percent(result['macro_accuracy'])} ({len(result['groups'])} subjects)"]
    if "loss" in result:
        parts = [f"loss {result['loss']:.4f}"]
    if result.get("executed") is False:
        parts = ["not executed"]
    return ", ".join(parts) or "-"


def remarks(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the notes below the table."""
    lines = []
    for result in results:
        if result.get("cut"):
            lines.append(
                f"{result['benchmark']} ({result['how']}): {result['cut']} prompts were too long and lost their beginning."
            )
        if result.get("sandbox", {}).get("isolated") is False:
            lines.append(f"{result['benchmark']}: programs ran without isolation from files and network.")
    unread = [result["benchmark"] for result in results if (result.get("unreadable") or 0) > 0.5]
    if unread:
        lines.append(
            f"{', '.join(unread)}: more than half of the generated texts hold no answer and count as wrong; their generated "
            "accuracy measures format more than knowledge."
        )
    return lines


def read(path: Path) -> dict[str, Any]:
    """Read the record of an evaluation.

    Raises:
        InputError: no such file, or a file of another kind.
    """
    content = records.read_json(path)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise InputError(where=path, expected="a record that rolora evaluate has written with --json")
    return content


def against(before: dict[str, Any], results: Sequence[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Compare results with those of another record, question by question.

    Args:
        before: the other record.
        results: of this evaluation.
        path: of the other record, for messages.

    Returns:
        One comparison for every result of both records, on their common questions.

    Raises:
        InputError: no common questions.
    """
    comparisons = []
    for after in results:
        for earlier in before["results"]:
            if any(earlier[name] != after[name] for name in ("benchmark", "split", "how", "shots", "template")):
                continue
            comparison = _compared(earlier, after)
            if comparison is not None:
                comparisons.append({name: after[name] for name in ("benchmark", "split", "how")} | comparison)
    if not comparisons:
        raise InputError(
            key="--against",
            got=path,
            expected="a record with common questions: same benchmark, split, way, template, number of worked examples and data",
        )
    return comparisons


def _compared(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any] | None:
    earlier = {answer["id"]: answer for answer in before["answers"]}
    pairs = [(earlier[answer["id"]], answer) for answer in after["answers"] if answer["id"] in earlier]
    if not pairs:
        return None
    if "correct" in pairs[0][0] and "correct" in pairs[0][1]:
        return asdict(paired(*([answer["correct"] for answer in side] for side in zip(*pairs, strict=True))))
    if "tokens" not in pairs[0][0] or "tokens" not in pairs[0][1]:
        return None
    tokens = sum(second["tokens"] for _, second in pairs)
    losses = [-sum(pair[which]["log_likelihood"] for pair in pairs) / tokens for which in (0, 1)]
    return {"questions": len(pairs), "loss_before": losses[0], "loss_after": losses[1]}


def comparison_table(comparisons: Sequence[dict[str, Any]]) -> Table:
    """Return the table of comparisons, accuracies in percent and differences in points."""
    shown = Table(box=None, title="against the earlier record, same questions")
    for name in ("benchmark", "how"):
        shown.add_column(name)
    for name in ("questions", "before", "after", "difference", "95 % interval", "gained", "lost", "p (McNemar, exact)"):
        shown.add_column(name, justify="right")
    for pair in comparisons:
        if "loss_before" in pair:
            first, second = pair["loss_before"], pair["loss_after"]
            cells = [f"loss {first:.4f}", f"{second:.4f}", f"{second - first:+.4f}", "-", "-", "-", "-"]
        else:
            low, high = pair["interval"]
            cells = [
                percent(pair["before"]), percent(pair["after"]), f"{100 * pair['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}", str(pair["gained"]), str(pair["lost"]), f"{pair['p']:.3g}",
            ]  # fmt: skip
        shown.add_row(pair["benchmark"], pair["how"], str(pair["questions"]), *cells)
    return shown
