"""Benchmarks of a decoder before and after fine-tuning: ``python -m rolora evaluate``.

A benchmark declares its data, its prompts and how an answer is read; likelihoods, generation and intervals are common to all.
"""

from rolora.evaluation.benchmarks import commonsense, gsm8k, humaneval, mmlu
from rolora.evaluation.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (*commonsense.BENCHMARKS, mmlu.BENCHMARK, gsm8k.BENCHMARK, humaneval.BENCHMARK)
}
"""Name -> benchmark."""

GROUPS: dict[str, tuple[str, ...]] = {"commonsense": tuple(benchmark.name for benchmark in commonsense.BENCHMARKS)}
"""Names that stand for several benchmarks."""

__all__ = ["BENCHMARKS", "GROUPS", "Benchmark"]
