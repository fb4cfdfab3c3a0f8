"""A decoder's answers to a benchmark's questions, and what they add up to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rolora.evaluation.benchmarks import generation
from rolora.evaluation.benchmarks.benchmark import Choice, Normalisation, Template, Way
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.evaluation.benchmarks.likelihood import Progress, Score, best, log_likelihoods
from rolora.evaluation.benchmarks.questions import Asked
from rolora.evaluation.benchmarks.sandbox import Sandbox
from rolora.evaluation.benchmarks.templates import wrapper
from rolora.evaluation.intervals import pass_at_k, wilson

NORMALISATIONS: tuple[Normalisation, ...] = ("sum", "character", "token")


@dataclass(frozen=True)
class Settings:
    """How questions are put: batch, template and length (None: the benchmark's own), and where programs run, if at all."""

    batch_size: int = 8
    template: Template | None = None
    max_new_tokens: int | None = None
    sandbox: Sandbox | None = None


def measure(
    decoder: Decoder,
    asked: Asked,
    way: Way,
    settings: Settings,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Ask all questions in one way.

    Args:
        decoder: the model.
        asked: the questions.
        way: likelihood, labels or generation.
        settings: how they are put.
        progress: told what is done, how much of it, and of how much.

    Returns:
        What a record keeps: what was asked and how, accuracy with interval, what guessing would give, every answer.
    """
    started = time.perf_counter()
    if way == "generation":
        found, template = _open(decoder, asked, settings, progress)
    else:
        found, template = _scored(decoder, asked, way, settings, progress)
    answers = found.pop("answers")
    for answer, identity, row in zip(answers, asked.identities, asked.rows, strict=True):
        answer["id"] = identity
        if asked.benchmark.group:
            answer["group"] = row[asked.benchmark.group]
    return {
        "benchmark": asked.benchmark.name,
        "split": asked.split,
        "how": way,
        "template": template,
        "shots": asked.num_shots,
        "data": asked.source.as_dict(),
        "questions": len(asked.rows),
        "available": asked.available,
        **found,
        **_by_group(answers),
        "seconds": round(time.perf_counter() - started, 3),
        "answers": answers,
    }


def accuracy(right: Sequence[bool]) -> dict[str, Any]:
    """Share of right answers with Wilson's 95 % interval.

    Example:
        >>> accuracy([True, True, False, True])["accuracy"]
        0.75
    """
    return {"accuracy": sum(right) / len(right), "interval": list(wilson(sum(right), len(right)))}


def _majority(golds: Sequence[Any]) -> float:
    """The share of the most frequent right answer: what a model reaches that always says the same."""
    return Counter(golds).most_common(1)[0][1] / len(golds)


def _teller(progress: Callable[[str, int, int], None] | None, what: str, total: int) -> Progress:
    count = 0

    def told(number: int) -> None:
        nonlocal count
        count += number
        if progress is not None:
            progress(what, count, total)

    return told


def _scored(
    decoder: Decoder, asked: Asked, way: Way, settings: Settings, progress: Callable[[str, int, int], None] | None
) -> tuple[dict[str, Any], str]:
    benchmark, template = asked.benchmark, "plain"
    if way == "labels":
        template = settings.template or (benchmark.generation.template if benchmark.generation else "plain")
        wrap = wrapper(template, decoder.tokenizer)
        choices = [benchmark.labels(row, wrap) for row in asked.rows]
    else:
        choices = [benchmark.likelihood(row, asked.examples(row)) for row in asked.rows]
    options = [option for choice in choices for option in choice.options]
    told = _teller(progress, f"{benchmark.name} {way}", len(options))
    scores = iter(log_likelihoods(decoder, options, settings.batch_size, told))
    by_question = [[next(scores) for _ in choice.options] for choice in choices]
    if all(len(choice.options) == 1 for choice in choices):
        return _losses([found[0] for found in by_question]), template
    return _chosen(choices, by_question, "sum" if way == "labels" else benchmark.normalisation), template


def _losses(scores: Sequence[Score]) -> dict[str, Any]:
    """The loss of reference texts: every token counts once, so a long text counts for more."""
    tokens = sum(score.tokens for score in scores)
    return {
        "loss": -sum(score.log_likelihood for score in scores) / tokens,
        "tokens": tokens,
        "cut": sum(score.cut > 0 for score in scores),
        "answers": [{"log_likelihood": score.log_likelihood, "tokens": score.tokens} for score in scores],
    }


def _chosen(choices: Sequence[Choice], scores: Sequence[Sequence[Score]], primary: Normalisation) -> dict[str, Any]:
    answers = []
    for choice, found in zip(choices, scores, strict=True):
        picked = {by: best(found, by) for by in NORMALISATIONS}
        answers.append(
            {
                "gold": choice.gold,
                "picked": picked,
                "correct": picked[primary] == choice.gold,
                "log_likelihoods": [score.log_likelihood for score in found],
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
        "cut": sum(any(score.cut for score in found) for found in scores),
        "answers": answers,
    }


def _open(
    decoder: Decoder, asked: Asked, settings: Settings, progress: Callable[[str, int, int], None] | None
) -> tuple[dict[str, Any], str]:
    rule = asked.benchmark.generation
    template = "plain" if rule.executes else settings.template or rule.template
    wrap = wrapper(template, decoder.tokenizer)
    questions = [rule.ask(row, asked.examples(row)) for row in asked.rows]
    length = settings.max_new_tokens or rule.max_new_tokens
    told = _teller(progress, f"{asked.benchmark.name} generation", len(questions))
    prompts = [wrap(question.instruction) for question in questions]
    texts = generation.generate(decoder, prompts, rule.stop, length, settings.batch_size, told)
    common = {"max_new_tokens": length, "batch_size": settings.batch_size}
    if rule.executes:
        programs = [
            question.instruction + text + question.answer for question, text in zip(questions, texts, strict=True)
        ]
        return common | _judged(texts, programs, settings.sandbox, progress), template
    answers = []
    for question, text in zip(questions, texts, strict=True):
        read = rule.read(text)
        answers.append({"gold": question.answer, "read": read, "correct": read == question.answer, "text": text})
    golds = [question.answer for question in questions]
    chances = [len(c.options) for c in _options(asked)]
    return common | accuracy([answer["correct"] for answer in answers]) | {
        "chance": sum(1 / count for count in chances) / len(chances) if min(chances) > 1 else None,
        "majority": _majority(golds),
        "unreadable": sum(answer["read"] is None for answer in answers) / len(answers),
        "answers": answers,
    }, template


def _options(asked: Asked) -> list[Choice]:
    return [asked.benchmark.likelihood(row, ()) for row in asked.rows]


def _judged(
    texts: Sequence[str],
    programs: Sequence[str],
    sandbox: Sandbox | None,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, Any]:
    """Completions with what their tests say, or unjudged without a sandbox."""
    if sandbox is None:
        return {"executed": False, "answers": [{"text": text} for text in texts]}
    told = _teller(progress, "tests", len(programs))
    answers = []
    for text, program in zip(texts, programs, strict=True):
        outcome = sandbox.run(program)
        answers.append({"outcome": outcome, "correct": outcome == "passed", "text": text})
        told(1)
    right = [answer["correct"] for answer in answers]
    passes = sum(pass_at_k(1, int(one), 1) for one in right) / len(right)
    return {"executed": True, "sandbox": sandbox.describe(), **accuracy(right), "pass_at_1": passes, "answers": answers}


def _by_group(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The accuracy of each group, and their unweighted mean."""
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
