"""Measure a decoder on a benchmark's questions: answers, accuracy with its interval, chance and majority."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rolora.evaluation.benchmarks import generation
from rolora.evaluation.benchmarks.benchmark import Choice, Normalisation, Template, Way
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.evaluation.benchmarks.likelihood import Score, best, log_likelihoods
from rolora.evaluation.benchmarks.questions import QuestionSet
from rolora.evaluation.benchmarks.sandbox import Sandbox
from rolora.evaluation.benchmarks.templates import wrapper
from rolora.evaluation.intervals import wilson

NORMALISATIONS: tuple[Normalisation, ...] = ("sum", "character", "token")

Progress = Callable[[str, int, int], None]
"""Receives the task, the number of completed texts and their total."""


@dataclass(frozen=True)
class Settings:
    """Batch size, template and length (None: the benchmark's own), and the sandbox of generated programs, if any."""

    batch_size: int = 8
    template: Template | None = None
    max_new_tokens: int | None = None
    sandbox: Sandbox | None = None


def measure(
    decoder: Decoder,
    questions: QuestionSet,
    way: Way,
    settings: Settings,
    progress: Progress = lambda task, completed, total: None,
) -> dict[str, Any]:
    """Put all questions to the model in one way.

    Args:
        decoder: the model.
        questions: of one benchmark.
        way: likelihood, labels or generation.
        settings: batch size, template, length and sandbox.
        progress: called after each batch.

    Returns:
        The entry of a record: settings, accuracy with interval, chance, every answer.
    """
    started = time.perf_counter()
    measured = _generated if way == "generation" else _scored
    result, template = measured(decoder, questions, way, settings, progress)
    answers = result.pop("answers")
    for answer, identity, row in zip(answers, questions.identities, questions.rows, strict=True):
        answer["id"] = identity
        if questions.benchmark.group:
            answer["group"] = row[questions.benchmark.group]
    return {
        "benchmark": questions.benchmark.name,
        "split": questions.split,
        "how": way,
        "template": template,
        "shots": questions.num_shots,
        "data": asdict(questions.source),
        "questions": len(questions.rows),
        "available": questions.available,
        **result,
        **_by_group(answers),
        "seconds": round(time.perf_counter() - started, 3),
        "answers": answers,
    }


def accuracy(right: Sequence[bool]) -> dict[str, Any]:
    """Return the share of right answers with Wilson's 95 % interval.

    Example:
        >>> accuracy([True, True, False, True])["accuracy"]
        0.75
    """
    return {"accuracy": sum(right) / len(right), "interval": list(wilson(sum(right), len(right)))}


def _majority(golds: Sequence[Any]) -> float:
    """Return the accuracy of the most frequent right answer given to every question."""
    return Counter(golds).most_common(1)[0][1] / len(golds)


def _scored(
    decoder: Decoder, questions: QuestionSet, way: Way, settings: Settings, progress: Progress
) -> tuple[dict[str, Any], str]:
    benchmark, template = questions.benchmark, "plain"
    if way == "labels":
        template = settings.template or (benchmark.generation.template if benchmark.generation else "plain")
        wrap = wrapper(template, decoder.tokenizer)
        choices = [benchmark.labels(row, wrap) for row in questions.rows]
    else:
        choices = [benchmark.likelihood(row, questions.examples(row)) for row in questions.rows]
    options = [option for choice in choices for option in choice.options]
    report = partial(progress, f"{benchmark.name} {way}")
    scores = iter(log_likelihoods(decoder, options, settings.batch_size, report))
    by_question = [[next(scores) for _ in choice.options] for choice in choices]
    if all(len(choice.options) == 1 for choice in choices):
        return _losses([options[0] for options in by_question]), template
    return _chosen(choices, by_question, "sum" if way == "labels" else benchmark.normalisation), template


def _losses(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the mean loss a token of reference texts; a long text counts for more."""
    tokens = sum(score.tokens for score in scores)
    return {
        "loss": -sum(score.log_likelihood for score in scores) / tokens,
        "tokens": tokens,
        "cut": sum(score.cut > 0 for score in scores),
        "answers": [{"log_likelihood": score.log_likelihood, "tokens": score.tokens} for score in scores],
    }


def _chosen(choices: Sequence[Choice], scores: Sequence[Sequence[Score]], primary: Normalisation) -> dict[str, Any]:
    answers = []
    for choice, options in zip(choices, scores, strict=True):
        picked = {by: best(options, by) for by in NORMALISATIONS}
        answers.append(
            {
                "gold": choice.gold,
                "picked": picked,
                "correct": picked[primary] == choice.gold,
                "log_likelihoods": [score.log_likelihood for score in options],
            }
        )
    return {
        "normalisation": primary,
        **accuracy([answer["correct"] for answer in answers]),
        "accuracy_by": {
            by: sum(answer["picked"][by] == answer["gold"] for answer in answers) / len(answers)
            for by in NORMALISATIONS
        },
        "chance": sum(1 / len(choice.options) for choice in choices) / len(choices),
        "majority": _majority([choice.gold for choice in choices]),
        "cut": sum(any(score.cut for score in options) for options in scores),
        "answers": answers,
    }


def _generated(
    decoder: Decoder, questions: QuestionSet, way: Way, settings: Settings, progress: Progress
) -> tuple[dict[str, Any], str]:
    benchmark, rule = questions.benchmark, questions.benchmark.generation
    template = "plain" if rule.executes else settings.template or rule.template
    wrap = wrapper(template, decoder.tokenizer)
    opened = [rule.ask(row, questions.examples(row)) for row in questions.rows]
    length = settings.max_new_tokens or rule.max_new_tokens
    prompts = [wrap(question.instruction) for question in opened]
    report = partial(progress, f"{benchmark.name} {way}")
    texts = generation.generate(decoder, prompts, rule.stop, length, settings.batch_size, report)
    common = {"max_new_tokens": length, "batch_size": settings.batch_size}
    if rule.executes:
        programs = [question.instruction + text + question.answer for question, text in zip(opened, texts, strict=True)]
        return common | _executed(texts, programs, settings.sandbox, progress), template
    answers = []
    for question, text in zip(opened, texts, strict=True):
        read = rule.read(text)
        answers.append({"gold": question.answer, "read": read, "correct": read == question.answer, "text": text})
    options = [len(benchmark.likelihood(row, ()).options) for row in questions.rows]
    return common | accuracy([answer["correct"] for answer in answers]) | {
        "chance": sum(1 / count for count in options) / len(options) if min(options) > 1 else None,
        "majority": _majority([question.answer for question in opened]),
        "unreadable": sum(answer["read"] is None for answer in answers) / len(answers),
        "answers": answers,
    }, template


def _executed(
    texts: Sequence[str], programs: Sequence[str], sandbox: Sandbox | None, progress: Progress
) -> dict[str, Any]:
    """Return completions with the outcome of their tests, or without one where there is no sandbox."""
    if sandbox is None:
        return {"executed": False, "answers": [{"text": text} for text in texts]}
    answers = []
    for text, program in zip(texts, programs, strict=True):
        outcome = sandbox.run(program)
        answers.append({"outcome": outcome, "correct": outcome == "passed", "text": text})
        progress("tests", len(answers), len(programs))
    shares = accuracy([answer["correct"] for answer in answers])
    # One completion a problem: pass@1 (Chen et al. 2021, Eq. 1) is the share of right ones.
    return {
        "executed": True, "sandbox": sandbox.describe(), **shares, "pass_at_1": shares["accuracy"], "answers": answers,
    }  # fmt: skip


def _by_group(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the accuracy of each group, and their unweighted mean."""
    if not answers or "group" not in answers[0] or "correct" not in answers[0]:
        return {}
    groups: dict[str, list[bool]] = {}
    for answer in answers:
        groups.setdefault(answer["group"], []).append(answer["correct"])
    shares = {group: sum(right) / len(right) for group, right in sorted(groups.items())}
    return {
        "macro_accuracy": sum(shares.values()) / len(shares),
        "groups": {group: {"accuracy": share, "questions": len(groups[group])} for group, share in shares.items()},
    }
