"""MMLU: 57 subjects, four options, worked examples of the same subject before the question.

Source: Hendrycks et al. 2021 (arXiv 2009.03300): 5-shot, the likeliest of " A", " B", " C", " D"; the average over all
questions (micro) and over subjects (macro). Prompts as lm-evaluation-harness 0.4.13, task mmlu; the authors' own script has
one blank more before the subject's name and takes the five examples of dev in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rolora.evaluation.benchmarks.benchmark import Benchmark, Choice, HubSource, Option, Row

LETTERS = "ABCD"

SUBJECTS = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge", "college_biology",
    "college_chemistry", "college_computer_science", "college_mathematics", "college_medicine", "college_physics",
    "computer_security", "conceptual_physics", "econometrics", "electrical_engineering", "elementary_mathematics",
    "formal_logic", "global_facts", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
    "high_school_european_history", "high_school_geography", "high_school_government_and_politics",
    "high_school_macroeconomics", "high_school_mathematics", "high_school_microeconomics", "high_school_physics",
    "high_school_psychology", "high_school_statistics", "high_school_us_history", "high_school_world_history",
    "human_aging", "human_sexuality", "international_law", "jurisprudence", "logical_fallacies", "machine_learning",
    "management", "marketing", "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios", "nutrition",
    "philosophy", "prehistory", "professional_accounting", "professional_law", "professional_medicine",
    "professional_psychology", "public_relations", "security_studies", "sociology", "us_foreign_policy", "virology",
    "world_religions",
)  # fmt: skip


def question(row: Row) -> str:
    """Return a question with its options, up to "Answer:"."""
    options = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=True))
    return f"{row['question'].strip()}\n{options}\nAnswer:"


def prompt(row: Row, shots: Sequence[Row]) -> str:
    """Return heading, worked examples and question.

    Example:
        >>> row = {"subject": "world_religions", "question": "Q?", "choices": list("wxyz"), "answer": "B"}
        >>> print(prompt(row, [row]))
        The following are multiple choice questions (with answers) about world religions.
        <BLANKLINE>
        Q?
        A. w
        B. x
        C. y
        D. z
        Answer: B
        <BLANKLINE>
        Q?
        A. w
        B. x
        C. y
        D. z
        Answer:
    """
    subject = row["subject"].replace("_", " ")
    examples = "".join(f"{question(shot)} {shot['answer']}\n\n" for shot in shots)
    return f"The following are multiple choice questions (with answers) about {subject}.\n\n{examples}{question(row)}"


def choose(row: Row, shots: Sequence[Row]) -> Choice:
    """Return the four letters after the prompt."""
    context = prompt(row, shots)
    return Choice(tuple(Option(context, f" {letter}") for letter in LETTERS), LETTERS.index(row["answer"]))


def labels(row: Row, wrap: Callable[[str], str]) -> Choice:
    """Return the four letters after the question alone, as an instruction."""
    context = wrap(question(row))
    blank = "" if context != context.rstrip() else " "
    return Choice(tuple(Option(context, blank + letter) for letter in LETTERS), LETTERS.index(row["answer"]))


def _from_hub(row: Row) -> dict[str, Any]:
    """Convert a row whose answer is a number (the hub) or a letter (the authors' files)."""
    answer = row["answer"] if row["answer"] in tuple(LETTERS) else LETTERS[int(row["answer"])]
    return dict(row) | {"choices": list(row["choices"]), "answer": answer}


BENCHMARK = Benchmark(
    name="mmlu",
    title="MMLU",
    source="Hendrycks et al. 2021 (arXiv 2009.03300); prompts as lm-evaluation-harness 0.4.13",
    columns=("subject", "question", "choices", "answer"),
    files={"dev": ("dev",), "validation": ("val", "validation"), "test": ("test",)},
    hub=HubSource("cais/mmlu", "all", {"dev": "dev", "validation": "validation", "test": "test"}, _from_hub),
    split="test",
    likelihood=choose,
    labels=labels,
    shots=5,
    most_shots=5,
    shots_split="dev",
    group="subject",
    groups=SUBJECTS,
)
