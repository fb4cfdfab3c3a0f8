"""Benchmarks that a decoder is measured on before and after fine-tuning: ``python -m rolora evaluate``.

A benchmark says where its questions come from, how they are put to a model and how an answer is read; scoring, generation
and statistics are common to all. ``BENCHMARKS`` maps the names of the command line to them.
"""

from rolora.evaluation.benchmarks import commonsense, gsm8k, humaneval, mmlu
from rolora.evaluation.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one for one in (*commonsense.BENCHMARKS, mmlu.BENCHMARK, gsm8k.BENCHMARK, humaneval.BENCHMARK)
}
"""Name -> benchmark."""

GROUPS: dict[str, tuple[str, ...]] = {"commonsense": tuple(one.name for one in commonsense.BENCHMARKS)}
"""Names that stand for several benchmarks."""

__all__ = ["BENCHMARKS", "GROUPS", "Benchmark"]
