"""What a person sees of an evaluation, the record that is kept, and two records held against each other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from rolora import records
from rolora.errors import InputError
from rolora.evaluation.intervals import paired

KIND = "evaluation"
"""What distinguishes this record from a run's."""

PER = {"sum": "sum", "character": "per character", "token": "per token"}


def record(
    model: dict[str, Any],
    results: Sequence[dict[str, Any]],
    environment: dict[str, Any],
    words: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """The JSON record of one evaluation: nothing of it depends on the folder it is written to."""
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
    """A line a benchmark and way; accuracies in percent."""
    shown = Table(box=None)
    for name in ("benchmark", "split", "how"):
        shown.add_column(name)
    names = ("questions", "accuracy", "95 % interval", "chance", "majority", "other", "unread", "s/question")
    for name in names:
        shown.add_column(name, justify="right")
    for one in results:
        shown.add_row(
            one["benchmark"],
            one["split"],
            one["how"] + (f", {one['shots']}-shot" if one["shots"] else ""),
            f"{one['questions']:,} of {one['available']:,}",
            percent(one.get("accuracy")),
            " to ".join(percent(bound) for bound in one["interval"]) if "interval" in one else "-",
            percent(one.get("chance")),
            percent(one.get("majority")),
            _other(one),
            percent(one.get("unreadable")),
            f"{one['seconds'] / one['questions']:.2f}",
        )
    return shown


def percent(share: float | None) -> str:
    """Example:
    >>> percent(0.25), percent(None)
    ('25.0', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}"


def _other(one: dict[str, Any]) -> str:
    """What else a way of measuring gives: other normalisations, the mean over subjects, a loss."""
    parts = [
        f"{PER[by]} {percent(share)}"
        for by, share in one.get("accuracy_by", {}).items()
        if by != one["normalisation"] and one["how"] == "likelihood"
    ]
    if "macro_accuracy" in one:
        parts = [f"macro {percent(one['macro_accuracy'])} ({len(one['groups'])} subjects)"]
    if "loss" in one:
        parts = [f"loss {one['loss']:.4f}"]
    if one.get("executed") is False:
        parts = ["not executed"]
    return ", ".join(parts) or "-"


def remarks(results: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader of the table has to know."""
    lines = []
    for one in results:
        if one.get("cut"):
            lines.append(
                f"{one['benchmark']} ({one['how']}): {one['cut']} prompts were too long and lost their beginning."
            )
        if one.get("sandbox", {}).get("isolated") is False:
            lines.append(f"{one['benchmark']}: programs ran without isolation from files and network.")
    unread = [one["benchmark"] for one in results if (one.get("unreadable") or 0) > 0.5]
    if unread:
        lines.append(
            f"{', '.join(unread)}: more than half of the generated texts hold no answer and count as wrong; their generated "
            "accuracy measures format more than knowledge."
        )
    return lines


def read(path: Path) -> dict[str, Any]:
    """A record of an evaluation.

    Raises:
        InputError: no such file, or a file of another kind.
    """
    found = records.read_json(path)
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{path}: expected a record that rolora evaluate has written with --json")
    return found


def against(before: dict[str, Any], results: Sequence[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Pair results with those of another record, question by question.

    Args:
        before: the other record.
        results: of this evaluation.
        path: of the other record, for messages.

    Returns:
        One comparison for every result that the other record has too, on the questions that both have.

    Raises:
        InputError: nothing to compare.
    """
    found = []
    for after in results:
        for earlier in before["results"]:
            if any(earlier[name] != after[name] for name in ("benchmark", "split", "how", "shots", "template")):
                continue
            comparison = _compared(earlier, after)
            if comparison is not None:
                found.append({name: after[name] for name in ("benchmark", "split", "how")} | comparison)
    if not found:
        raise InputError(
            f"--against: {path} has no common questions with this evaluation, expected the same benchmark, split, way, "
            "template, number of worked examples and data"
        )
    return found


def _compared(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any] | None:
    earlier = {answer["id"]: answer for answer in before["answers"]}
    pairs = [(earlier[answer["id"]], answer) for answer in after["answers"] if answer["id"] in earlier]
    if not pairs:
        return None
    if "correct" in pairs[0][0] and "correct" in pairs[0][1]:
        return paired([first["correct"] for first, _ in pairs], [second["correct"] for _, second in pairs]).as_dict()
    if "tokens" not in pairs[0][0] or "tokens" not in pairs[0][1]:
        return None
    tokens = sum(second["tokens"] for _, second in pairs)
    losses = [-sum(pair[which]["log_likelihood"] for pair in pairs) / tokens for which in (0, 1)]
    return {"questions": len(pairs), "loss_before": losses[0], "loss_after": losses[1]}


def comparison_table(comparisons: Sequence[dict[str, Any]]) -> Table:
    """Before and after on the same questions; accuracies in percent, differences in points."""
    shown = Table(box=None, title="against the earlier record, same questions")
    for name in ("benchmark", "how"):
        shown.add_column(name)
    for name in ("questions", "before", "after", "difference", "95 % interval", "gained", "lost", "p (McNemar, exact)"):
        shown.add_column(name, justify="right")
    for one in comparisons:
        if "loss_before" in one:
            first, second = one["loss_before"], one["loss_after"]
            cells = [f"loss {first:.4f}", f"{second:.4f}", f"{second - first:+.4f}", "-", "-", "-", "-"]
        else:
            low, high = one["interval"]
            cells = [
                percent(one["before"]), percent(one["after"]), f"{100 * one['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}", str(one["gained"]), str(one["lost"]), f"{one['p']:.3g}",
            ]  # fmt: skip
        shown.add_row(one["benchmark"], one["how"], str(one["questions"]), *cells)
    return shown
