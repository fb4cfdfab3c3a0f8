"""GSM8K: grade-school mathematics, the number after "####".

Source: Cobbe et al. 2021 (arXiv 2110.14168): "Question: ...", "Answer: ..." whose last line is "#### number". The answer is
read after "####" (strict); where there is none, the last number in the text is taken, as ``flexible-extract`` of
lm-evaluation-harness 0.4.13 does. Prompt, stop texts and number of examples (5) are the harness's too; its examples are drawn
for each question, here the same ones, drawn once from the training rows, stand before every question.

``likelihood`` is the held-out loss of the reference solution, in nats a token: fine-tuning moves it long before a small model
gets an answer right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rolora.evaluation.benchmarks.benchmark import Benchmark, Choice, Generation, HubSource, OpenQuestion, Option, Row

NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")


def normalised(number: str) -> str:
    """Return a number without thousands separator, currency, or zeros at the end of a fraction.

    Example:
        >>> [normalised(text) for text in ("$1,080.00", "-5", "2.50", ".5")]
        ['1080', '-5', '2.5', '0.5']
    """
    text = number.replace(",", "").replace("$", "")
    text = re.sub(r"^(-?)\.", r"\g<1>0.", text)
    return text.rstrip("0").rstrip(".") if "." in text else text


def read(text: str) -> str | None:
    """Return the number after "####", else the last number, else None.

    Example:
        >>> read("9 * 2 = $18\\n#### 18"), read("So she makes $1,080 a day."), read("I do not know.")
        ('18', '1080', None)
    """
    _, mark, after = text.partition("####")
    match = NUMBER.search(after) if mark else None
    if match is None:
        match = next(reversed(list(NUMBER.finditer(text))), None)
    return normalised(match.group()) if match else None


def prompt(row: Row, shots: Sequence[Row]) -> str:
    """Return worked examples and the question, up to "Answer:"."""
    examples = "".join(f"Question: {shot['question']}\nAnswer: {shot['answer']}\n\n" for shot in shots)
    return f"{examples}Question: {row['question']}\nAnswer:"


def ask(row: Row, shots: Sequence[Row]) -> OpenQuestion:
    """Return the open question of ``generation``."""
    return OpenQuestion(prompt(row, shots), normalised(row["answer"].rpartition("####")[2].strip()))


def solution(row: Row, shots: Sequence[Row]) -> Choice:
    """Return the reference solution, whose loss is measured."""
    return Choice((Option(prompt(row, shots), f" {row['answer']}"),), 0)


BENCHMARK = Benchmark(
    name="gsm8k",
    title="GSM8K",
    source="Cobbe et al. 2021 (arXiv 2110.14168); prompt as lm-evaluation-harness 0.4.13",
    columns=("question", "answer"),
    files={"train": ("train",), "test": ("test",)},
    hub=HubSource("openai/gsm8k", "main", {"train": "train", "test": "test"}),
    split="test",
    likelihood=solution,
    generation=Generation(
        ask=ask, read=read, template="plain", stop=("Question:", "</s>", "<|im_end|>"), max_new_tokens=256
    ),
    training=lambda row: (prompt(row, ()), f" {row['answer']}"),
    shots=0,
    most_shots=8,
)
