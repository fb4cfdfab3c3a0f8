"""``python -m tests.tools.bench.gpu --out DIR``: large architectures on one GPU, against a plain PEFT loop and the device's peak.

The weights are random: time and memory do not depend on their values. A part's record is written after each measurement, so
a run that is cut short keeps what it has. Two counts of operations stand beside the measured peak of a matrix product: 4 x
parameters x tokens, the common rule for a frozen backbone, and what is computed: 2 x entries x tokens for all of the
backbone's matrices forward, and as much again backward for those in the lowest adapted layer and above.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from rolora import config as configuration
from rolora import records
from rolora.cli.errors import one_line_errors
from rolora.config import Config
from rolora.errors import InputError
from rolora.keys import Key
from rolora.models import architectures, peft_boundary, precision
from rolora.models import backbone as models
from rolora.models.costs import layer_of
from rolora.training.engines import ENGINES
from rolora.training.examples import Examples
from tests.tools.bench import engines, plain_loop
from tests.tools.bench.given import Given

KEY = Key(0).fold("bench", "gpu")


@dataclass(frozen=True)
class Part:
    """One architecture and job.

    Args:
        architecture: a name of ``rolora.models.architectures``.
        modules: which have adapters.
        layers: in which layers; None for all.
        clients: N.
        rank: r.
        rows: texts of a client's batch.
        tokens: of each text.
        groups: sizes of the batched engine's groups.
    """

    architecture: str
    modules: tuple[str, ...]
    layers: tuple[int, ...] | None
    clients: int
    rank: int
    rows: int
    tokens: int
    groups: tuple[int, ...]


LLAMA = Part("llama-2-7b", ("q_proj", "v_proj"), None, 8, 8, 4, 512, (2, 4, 8))
PARTS = {
    "roberta-large": Part("roberta-large", ("query", "value"), None, 50, 4, 32, 128, (2, 5, 10, 25)),
    "llama-2-7b": LLAMA,
    "llama-2-7b-upper": replace(LLAMA, layers=tuple(range(26, 32))),
}
LOCAL_STEPS, PASSES, PASS_SECONDS = 2, 3, 40.0


def shrunk(part: Part) -> Part:
    """The same part at a size for a dry run."""
    layers = None if part.layers is None else (1,)
    return replace(part, layers=layers, clients=4, rank=2, rows=2, tokens=8, groups=(2, 4))


def build(part: Part, dtype: torch.dtype, device: torch.device, tiny: bool) -> torch.nn.Module:
    """The classification model with random weights and without dropout."""
    settings = architectures.ARCHITECTURES[part.architecture].settings()
    settings.num_labels = 2
    for field in models.DROPOUT_FIELDS:
        if getattr(settings, field, None) is not None:
            setattr(settings, field, 0.0)
    if tiny:
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
        small |= {"intermediate_size": 48, "vocab_size": 100, "head_dim": 16}
        for field, value in small.items():
            if getattr(settings, field, None) is not None:
                setattr(settings, field, value)
    return architectures.from_settings(settings, dtype, device, KEY)


def config_of(part: Part, **runtime: Any) -> Config:
    """The job as a config: one round of FedAvg-LoRA, in which both factors move."""
    return configuration.check(
        {
            "algorithm": "fedavg-lora",
            "seed": 0,
            "model": {"name": architectures.RANDOM + part.architecture, "max_length": part.tokens, "head": "trained"},
            "lora": {
                "rank": part.rank, "alpha": 2 * part.rank, "dropout": 0.0, "target_modules": part.modules,
                "layers": part.layers,
            },
            "data": {"name": "random tokens", "validation_examples": 1, "test_examples": 1},
            "federation": {"num_clients": part.clients, "rounds": 1, "partition": "iid", "client_weights": "uniform"},
            "training": {
                "optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01, "local_steps": LOCAL_STEPS,
                "batch_size": part.rows,
            },
            "evaluation": {"every": 1},
            "runtime": runtime,
        },
        "bench",
    )  # fmt: skip


def random_examples(part: Part, vocabulary: int) -> tuple[Examples, list[Any]]:
    """Random tokens, all texts of the same length, and the clients' indices."""
    stream = KEY.fold("examples").generator()
    each = part.rows * LOCAL_STEPS
    ids = stream.integers(5, vocabulary, size=(part.clients * each, part.tokens))
    fields = {"input_ids": ids.tolist(), "attention_mask": [[1] * part.tokens] * len(ids)}
    labels = stream.integers(0, 2, size=len(ids))
    clients = [stream.permutation(each) + client * each for client in range(part.clients)]
    return Examples(fields=fields, labels=labels, pad={"input_ids": 0, "attention_mask": 0}), clients


@dataclass(frozen=True)
class Ready:
    """A model with its adapter, and the data of a part."""

    part: Part
    model: PeftModel
    examples: Examples
    clients: list[Any]
    counts: dict[str, int]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


def ready(part: Part, dtype: torch.dtype, device: torch.device, tiny: bool) -> Ready:
    """Build the model, attach the adapter, draw the data; ``counts`` are what the rules of operations count."""
    backbone = build(part, dtype, device, tiny)
    lowest = 0 if part.layers is None else min(part.layers)
    matrices = {
        name: module.weight.numel()
        for name, module in backbone.base_model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    reached = [size for name, size in matrices.items() if (layer := layer_of(name)) is not None and layer >= lowest]
    counts = {
        "parameters": sum(parameter.numel() for parameter in backbone.base_model.parameters()),
        "matrix_entries": sum(matrices.values()),
        "matrix_entries_reached": sum(reached),
    }
    model = peft_boundary.attach(backbone, config_of(part).lora, KEY, architectures.RANDOM + part.architecture)
    examples, clients = random_examples(part, backbone.config.vocab_size)
    return Ready(part, model, examples, clients, counts)


def plain(prepared: Ready, runtime: dict[str, Any]) -> Callable[[], object]:
    """The plain loop as its user runs it: torch's own settings, autocast where the backbone is in bfloat16."""
    torch.use_deterministic_algorithms(False)
    config, model = config_of(prepared.part), prepared.model
    given = Given(
        algorithm=config.algorithm, model="", settings={}, dtype=str(runtime["dtype"]), lora={},
        learning_rate=config.training.learning_rate, weight_decay=config.training.weight_decay,
        weights=[1.0] * prepared.part.clients, config={},
        start=engines.state_of(model, peft_boundary.read(model, head=True)),
        batches=engines.draw(prepared.examples, prepared.clients, config, KEY, prepared.device),
    )  # fmt: skip
    autocast = torch.bfloat16 if runtime["dtype"] == "bfloat16" else None
    plain_loop.federated(model, replace(given, batches=[given.batches[0][:1]], weights=[1.0]), autocast)
    return lambda: plain_loop.federated(model, given, autocast)


def by_engine(prepared: Ready, runtime: dict[str, Any]) -> Callable[[], object]:
    """An engine of this project, as a run of ``rolora`` sets it up."""
    config, model = config_of(prepared.part, **runtime), prepared.model
    precision.apply(config.runtime)
    engine = ENGINES[config.runtime.engine](model, prepared.examples, prepared.clients, config, KEY)
    server = peft_boundary.read(model, head=True)
    first = range(config.runtime.group_size or 1)
    engine.local_updates(0, dict.fromkeys(first, server), config.build_algorithm().trainable(0))
    return lambda: engines.federated(engine, config, KEY, server)


def timed(run: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of a few passes; fewer if they are long."""
    seconds: list[float] = []
    while len(seconds) < PASSES and sum(seconds) < PASS_SECONDS:
        synchronise(device)
        started = time.perf_counter()
        run()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    return seconds


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Operations a second of a square matrix product on random numbers: the best of ten, after three."""
    generator = torch.Generator(device).manual_seed(KEY.fold("peak").integer())
    left, right = (torch.randn(size, size, generator=generator, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(13):
        synchronise(device)
        started = time.perf_counter()
        left @ right
        synchronise(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times[3:])


def measure(
    prepared: Ready,
    start: Callable[[Ready, dict[str, Any]], Callable[[], object]],
    runtime: dict[str, Any],
    best: float,
) -> dict[str, Any]:
    """Time and memory of one contestant; where the device fails it, that is the result."""
    device = prepared.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        seconds = timed(start(prepared, runtime), device)
    except torch.OutOfMemoryError:
        return {"not_measured": "out of memory"}
    except RuntimeError as error:  # one contestant's failure on the device must not cost the others their results
        return {"not_measured": " ".join(str(error).split())[:200]}
    part, counts = prepared.part, prepared.counts
    tokens = part.clients * LOCAL_STEPS * part.rows * part.tokens
    rate = tokens / min(seconds)
    computed = 2 * (counts["matrix_entries"] + counts["matrix_entries_reached"])
    return {
        "seconds": seconds,
        "tokens_per_second": rate,
        "client_step_seconds": min(seconds) / (part.clients * LOCAL_STEPS),
        "fraction_of_peak": 4 * counts["parameters"] * rate / best,
        "fraction_of_peak_computed": computed * rate / best,
        "memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def contestants(part: Part) -> list[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """(name, how it starts, its runtime), the quick ones first; float32 last, as it needs a model of its own."""
    half = {"dtype": "bfloat16"}
    return [
        *((f"batched, groups of {size}", by_engine, half | {"engine": "batched", "group_size": size}) for size in part.groups),
        ("sequential", by_engine, half | {"engine": "sequential"}),
        ("plain loop, bfloat16", plain, half),
        ("plain loop, float32", plain, {"dtype": "float32"}),
    ]  # fmt: skip


def run_part(name: str, part: Part, device: torch.device, tiny: bool, limit: float, out: Path) -> None:
    """Measure all contestants of a part; what comes after ``limit`` seconds is left out, and said to be."""
    started = time.perf_counter()
    size = 256 if tiny else 8192
    peaks = {dtype: peak(device, precision.DTYPES[dtype], size) for dtype in ("bfloat16", "float32")}
    record: dict[str, Any] = {
        "part": name,
        "tiny": tiny,
        "code": records.code(),
        "environment": records.environment() | hardware(device),
        "peak_flops": peaks,
        "sizes": vars(part) | {"local_steps": LOCAL_STEPS},
        "contestants": {},
    }
    prepared: Ready | None = None
    for contestant, start, runtime in contestants(part):
        if time.perf_counter() - started > limit:
            record["contestants"][contestant] = {"not_measured": f"the part's {limit:.0f} seconds were over"}
        else:
            dtype = precision.DTYPES[runtime["dtype"]]
            if prepared is None or next(prepared.model.parameters()).dtype != dtype:
                prepared = None
                release(device)
                prepared = ready(part, dtype, device, tiny)
                record |= prepared.counts
            runtime = runtime | {"device": str(device)}
            found = measure(prepared, start, runtime, peaks[runtime["dtype"]])
            record["contestants"][contestant] = {"runtime": runtime} | found
            release(device)
        records.write_json(out / f"{name}.json", record)
        print(f"{name}: {contestant}: {summary(record['contestants'][contestant])}", flush=True)


def release(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def hardware(device: torch.device) -> dict[str, Any]:
    """The device in words and numbers."""
    if device.type != "cuda":
        return {"device": str(device)}
    properties = torch.cuda.get_device_properties(device)
    return {"device": properties.name, "device_memory": properties.total_memory, "cuda": torch.version.cuda}


def summary(entry: dict[str, Any]) -> str:
    """One contestant in a line."""
    if "not_measured" in entry:
        return f"not measured: {entry['not_measured']}"
    memory = "" if entry["memory"] is None else f", {entry['memory'] / 1e9:.1f} GB"
    return (
        f"{entry['tokens_per_second']:,.0f} tokens/s, {entry['fraction_of_peak']:.1%} of the peak by 4 x parameters x tokens, "
        f"{entry['fraction_of_peak_computed']:.1%} as computed{memory}"
    )


def main() -> int:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets a record for each part")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument(
        "--limit", type=float, default=150.0, metavar="SECONDS", help="of a part; no measurement begins later"
    )
    parser.add_argument("--tiny", action="store_true", help="a dry run with tiny models on the CPU")
    parser.add_argument("--debug", action="store_true", help="show a traceback instead of one line")
    arguments = parser.parse_args()
    # Deterministic kernels, which the engines ask for, need it, and torch reads it at its first product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with one_line_errors(arguments.debug):
        if not arguments.tiny and not torch.cuda.is_available():
            raise InputError("got no CUDA device, expected one; --tiny makes a dry run on the CPU")
        device = torch.device("cpu" if arguments.tiny else "cuda")
        for name in arguments.parts:
            part = shrunk(PARTS[name]) if arguments.tiny else PARTS[name]
            run_part(name, part, device, arguments.tiny, arguments.limit, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
