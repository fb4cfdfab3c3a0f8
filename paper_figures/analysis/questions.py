"""The questions that figures and tables answer, in the order in which a report asks them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from paper_figures.analysis.entry import Entry


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        id: what an entry names it by, and its anchor in the report.
        asks: its words.
        kinds: entries that name no question belong here if the first record that they need is of one of these kinds.
    """

    id: str
    asks: str
    kinds: tuple[str, ...] = ()


SETTINGS = ("label_skew", "participation", "ranks", "layer_budgets", "schedules", "rate_ratios", "local_steps")
"""Kinds of record in which one setting of fine-tuning varies."""

QUESTIONS = (
    Question("theory", "Which statements of the theory hold?", ("claims",)),
    Question(
        "linear-model",
        "On the linear model: who converges, how fast, and with how many samples?",
        ("linear", "contraction", "sample_complexity"),
    ),
    Question(
        "two-layer-model",
        "With label-skewed clients on a two-layer model: does alternating help?",
        ("nonlinear", "nonlinear_mnist"),
    ),
    Question(
        "fine-tuning",
        "When a language model is fine-tuned: what changes with the number of clients?",
        ("finetuning", "sweep", "encoder_tasks", "dolly", "evaluations"),
    ),
    Question("confound", "Is it the method, or clients that share a model?", ("confound", "movement")),
    Question(
        "open-questions",
        "Under which clients, ranks, layers, schedules and steps does a difference between methods show?",
        SETTINGS,
    ),
    Question("methods", "Where does RoLoRA stand among all methods?", ("methods", "methods_rates")),
    Question("conformance", "Does every method do what it says?", ("conformance", "conformance_foreign")),
    Question("engines", "What does it cost to run?", ("engines", "profile", "gpu_speed", "gpu_memory")),
    Question("printed", "What do the papers print, and what was run beside it?"),
)
"""In the order of the report."""

OTHERS = "What else was measured?"


def question(entry: Entry) -> Question:
    """Return the question of an entry: the one it names, or that of the record it needs first.

    A name that is not in :data:`QUESTIONS` is a question of its own, in the entry's words.
    """
    if entry.question:
        known = {question.id: question for question in QUESTIONS}
        return known.get(entry.question) or Question(_slug(entry.question), entry.question)
    if not entry.needs:
        return QUESTIONS[-1]
    return next((known for known in QUESTIONS if entry.needs[0] in known.kinds), Question("others", OTHERS))


def grouped(entries: Iterable[Entry]) -> list[tuple[Question, list[Entry]]]:
    """Return the questions that these entries answer; those of :data:`QUESTIONS` first, figures before tables."""
    groups: dict[Question, list[Entry]] = {known: [] for known in QUESTIONS}
    for entry in entries:
        groups.setdefault(question(entry), []).append(entry)
    return [
        (asked, sorted(answers, key=lambda entry: entry.kind != "figure"))
        for asked, answers in groups.items()
        if answers
    ]


def _slug(words: str) -> str:
    return "question-" + re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
