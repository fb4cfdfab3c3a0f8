"""Made-up records for tests: their numbers mean nothing and never leave this folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner, Result

from paper_figures import registry
from paper_figures.__main__ import app
from paper_figures.records import sources

METHODS = ("fedavg-lora", "ffa-lora", "rolora")
ALL_METHODS = (*METHODS, "flexlora", "local-only", "centralised")
ENVIRONMENT = {"python": "3.11.7", "processor": "Made-up processor", "device": "cpu", "threads": 1, "dtype": "float32"}


def fake_claims() -> list[dict[str, Any]]:
    """Three claims with three verdicts; one statement holds characters that HTML and Markdown take for their own."""
    common = {"source": "derived here", "convention": "gradient factor 2", "seed": 0, "seconds": 1.25}
    return [
        common
        | {"id": "made-up-bound", "kind": "bound", "statement": "a* < b_i | <script>alert(1)</script>"}
        | {"measured": 0.125, "predicted": 0.5, "verdict": "holds", "expected": "holds"}
        | {"control_verdict": "refuted", "instances": 1234},
        common
        | {"id": "made-up-rate", "kind": "rate", "statement": "a made-up rate", "source": "a made-up paper"}
        | {"measured": 0.7071, "predicted": 0.7, "verdict": "refuted", "expected": "refuted"}
        | {"control_verdict": "refuted", "instances": 50},
        common
        | {"id": "made-up-measurement", "kind": "measurement", "statement": "a made-up measurement"}
        | {"measured": None, "predicted": None, "verdict": "not run", "expected": "holds"}
        | {"control_verdict": "holds", "instances": 0},
    ]


def envelope(name: str, parameters: dict[str, Any], series: list[dict[str, Any]]) -> dict[str, Any]:
    """The common part of the two experiment records."""
    return {
        "format": 1,
        "experiment": name,
        "parameters": parameters,
        "seed": 0,
        "command": f"python -m theory simulate {name} --json DIR/{name}.json",
        "environment": ENVIRONMENT,
        "seconds": 12.5,
        "series": series,
    }


def fake_linear(seeds: int = 5, rounds: int = 60) -> dict[str, Any]:
    """FFA-LoRA at a floor, the others falling, on two panels; and contraction ratios that are exact."""
    rates = {"fedavg-lora": 0.80, "ffa-lora": 1.0, "rolora": 0.88}
    plan = [("trajectories", name, "made-up steps") for name in METHODS] + [
        ("trajectories", "rolora", "made-up solver")
    ]
    plan += [("heterogeneous", name, "made-up steps") for name in METHODS]
    kappa = [0.05 * step for step in range(1, 20)]
    ratio = [abs(1 - 2 * one) for one in kappa]
    series: list[dict[str, Any]] = []
    for seed in range(seeds):
        for panel, name, update in plan:
            rate = rates[name] + 0.004 * seed * (name != "ffa-lora") - 0.03 * (update == "made-up solver")
            angle = [0.6 * rate**t for t in range(rounds + 1)]
            series.append(
                {"panel": panel, "algorithm": name, "local_update": update, "seed": seed}
                | {"rounds": list(range(rounds + 1)), "angle_distance": angle, "predicted": None}
                | {"relative_error": [1.3 * one for one in angle]}
            )
        series.append(
            {"panel": "local-ratio", "algorithm": "rolora", "local_update": "made-up solver", "seed": seed}
            | {"kappa": kappa, "measured": [one + 0.002 * seed for one in ratio], "predicted": ratio}
        )
    series += [
        {"panel": "population-map", "algorithm": "rolora", "local_update": "made-up solver", "seed": None}
        | {"kappa": one, "theta": [0.0, 0.8, 1.57], "predicted": [0.0, 0.5, 1.57]}
        for one in (0.1, 0.4)
    ]
    return envelope("linear", {"dimension": 40, "num_clients": 20, "samples": 100, "kappa": 0.25}, series)


def fake_nonlinear(seeds: int = 5) -> dict[str, Any]:
    """RoLoRA ahead at the small rate and behind at the large one."""
    top = {"fedavg-lora": (0.80, 0.92), "ffa-lora": (0.70, 0.82), "rolora": (0.88, 0.86), "centralised": (0.95, 0.97)}
    panels = [
        {"name": name, "rank": 16} for name in ("5 clients x 2 labels", "10 clients x 1 label", "10 clients, IID")
    ]
    panels.append({"name": "10 clients x 1 label, rank 4", "rank": 4})
    rounds = list(range(0, 101, 5))
    series = []
    for panel in [*(one["name"] for one in panels), "centralised"]:
        for name in ["centralised"] if panel == "centralised" else METHODS:
            for index, rate in enumerate((0.1, 1.0)):
                for seed in range(seeds):
                    curve = [0.1 + (top[name][index] - 0.1 + 0.01 * seed) * (1 - math.exp(-t / 15)) for t in rounds]
                    series.append(
                        {"panel": panel, "algorithm": name, "learning_rate": rate, "seed": seed, "rounds": rounds}
                        | {"chosen": index == (name != "rolora"), "test_accuracy": curve, "validation_accuracy": curve}
                    )
    parameters = {
        "data": "made-up digits",
        "paper_data": "60,000 handwritten digits",
        "panels": panels,
        "quick": False,
        "window": 4,
        "local_epochs": 5,
        "batch_size": 16,
        "clip": 10.0,
    }
    return envelope("nonlinear", parameters, series)


def fake_contraction(seeds: int = 5) -> dict[str, Any]:
    """Ratios that are exact near the solution and everywhere, fixed data a little above the population."""
    series = []
    for factor, end in ((1, 1.36), (2, 0.84)):
        for seed in [None, *range(seeds)]:
            kappa = [0.1 * step for step in range(1, 25 if factor == 1 else 13)]
            local = [abs(1 - factor * one) for one in kappa]
            above = 0.0 if seed is None else 0.01 * (seed + 1)
            series.append(
                {"panel": "range", "algorithm": "rolora", "local_update": "made-up solver", "seed": seed}
                | {"data": "population" if seed is None else "fixed", "gradient_factor": factor, "range_end": end}
                | {"kappa": kappa, "local": local, "worst": [one + above for one in local]}
                | {"claimed": [math.sqrt(1 - 0.64 * one) if 0.64 * one <= 1 else None for one in kappa]}
            )
    return envelope("contraction", {"num_clients": 10, "samples": 200, "dimension": 20, "delta0": 0.6}, series)


def fake_sample_complexity(seeds: int = 5) -> dict[str, Any]:
    """Ratios on the predicted line but for one factor a seed; slopes of exactly one."""
    series: list[dict[str, Any]] = []
    for seed in range(seeds):
        for clients in (1, 4, 16):
            common = {"algorithm": "rolora", "local_update": "made-up solver", "seed": seed, "num_clients": clients}
            samples = [pool // clients for pool in (256, 1024, 4096)]
            ratio = [math.sqrt(20 / (clients * m)) for m in samples]
            series.append(
                common
                | {"panel": "ratio", "samples": samples, "predicted": ratio}
                | {"measured": [one * 1.02 ** (seed - 2) for one in ratio]}
            )
            needed = [64.0 * d for d in (8, 16, 32)]
            series.append(
                common
                | {"panel": "needed", "dimensions": [8, 16, 32], "predicted": needed, "slope": 1 + 0.01 * (seed - 2)}
                | {"measured": [one * 1.05 ** (seed - 2) for one in needed]}
            )
    parameters = {"dimension": 20, "instances": 60, "kappa": 0.5, "gradient_factor": 2, "contraction": 0.125}
    return envelope("sample_complexity", parameters, series)


def fake_nonlinear_mnist(seeds: int = 3) -> dict[str, Any]:
    """A sweep of few rounds at two seeds and final runs at the chosen rate, RoLoRA's the small one."""
    top = {"fedavg-lora": (0.70, 0.80), "ffa-lora": (0.50, 0.55), "rolora": (0.90, 0.85), "centralised": (0.95, 0.97)}
    panels = [
        {"name": name, "rank": 16} for name in ("5 clients x 2 labels", "10 clients x 1 label", "10 clients, IID")
    ]
    series = []
    for panel in [*(one["name"] for one in panels), "centralised"]:
        for name in ["centralised"] if panel == "centralised" else METHODS:
            best = int(name != "rolora")
            plan = [("sweep", index, seed) for index in (0, 1) for seed in range(2)]
            plan += [("final", best, seed) for seed in range(seeds)]
            for stage, index, seed in plan:
                rounds = list(range(31 if stage == "sweep" else 101))
                curve = [0.1 + (top[name][index] - 0.1 + 0.01 * seed) * (1 - math.exp(-t / 15)) for t in rounds]
                series.append(
                    {"panel": panel, "algorithm": name, "learning_rate": (0.1, 1.0)[index], "seed": seed}
                    | {"rounds": rounds, "chosen": index == best, "stage": stage}
                    | {"test_accuracy": curve, "validation_accuracy": curve}
                )
    parameters = {
        "model": "a made-up model",
        "initialisation": "B not zero",
        "data": "made-up MNIST: 60 training and 10 test images",
        "panels": panels,
        "split_sizes": {"test": 10, "validation": 6, "train": 54},
        "quick": False,
        "learning_rates": [0.1, 1.0],
        "seeds": seeds,
        "rounds": 100,
        "control_rounds": 100,
        "sweep": {"seeds": 2, "rounds": 30, "control_rounds": 30},
        "window": 4,
        "local_epochs": 5,
        "batch_size": 64,
        "clip": 1.0,
        "dtype": "float32",
    }
    return envelope("nonlinear_mnist", parameters, series)


def fake_run(name: str, clients: int, rounds: int, seed: int, state: str = "isolated") -> dict[str, Any]:
    """One fine-tuning run: accuracy rises to a level that depends on method, clients and seed."""
    level = {"fedavg-lora": 0.74, "ffa-lora": 0.70, "rolora": 0.76}.get(name, 0.72) - 0.001 * clients + 0.005 * seed
    history = []
    for t in range(rounds):
        trained = {"fedavg-lora": ["A", "B"], "ffa-lora": ["B"]}.get(name, ["B"] if t % 2 == 0 else ["A"])
        part = {"A": 9216, "B": 9216, "head": 3080}
        up = {key: clients * size * (key in trained or key == "head") for key, size in part.items()}
        joining = {key: clients * size * (t == 0) for key, size in part.items()}
        accuracy = 0.5 + (level - 0.5) * (1 - math.exp(-3 * (t + 1) / rounds))
        evaluated = (t + 1) % max(1, rounds // 5) == 0 or t == rounds - 1
        history.append(
            {"round": t, "trained": trained, "clients": list(range(clients)), "loss": 0.6, "seconds": 1.5}
            | {
                "bytes_up": up,
                "bytes_down": {key: size * (t > 0) for key, size in up.items()},
                "bytes_joining": joining,
            }
            | {"evaluation": {"accuracy": accuracy, "loss": 0.6, "examples": 1000} if evaluated else None}
        )
    federation = {"num_clients": clients, "rounds": rounds, "partition": "iid", "client_state": state}
    training = {"optimizer": "adamw", "learning_rate": 0.002, "local_steps": 3, "batch_size": 8}
    return {
        "format": 1,
        "name": f"{name}-n{clients}-s{seed}-{state}",
        "status": "finished",
        "config": {"algorithm": name, "seed": seed, "federation": federation, "training": training}
        | {"lora": {"rank": 4, "alpha": 16}, "evaluation": {"every": 3}},
        "config_hash": f"{name}{clients}{seed}{state}",
        "seed": seed,
        "command": f"python -m rolora run {name}-n{clients}-s{seed}/record.json",
        "environment": ENVIRONMENT,
        "model": {"name": "all-MiniLM-L6-v2", "parameters": 22713216},
        "data": {"name": "Rotten Tomatoes", "train": 7000, "validation": 500, "test": 1000, "majority_rate": 0.5},
        "rounds": history,
        "initial_evaluation": {"accuracy": 0.5, "loss": 0.69, "examples": 1000},
        "final": history[-1]["evaluation"],
        "seconds": 30.0,
    }


def fake_finetuning(seeds: int = 3) -> list[dict[str, Any]]:
    """Three methods at 3, 20 and 50 clients, each client doing the same total of local steps."""
    plan = ((3, 100), (20, 15), (50, 6))
    return [fake_run(name, *size, seed) for size in plan for name in METHODS for seed in range(seeds)]


def fake_methods(seeds: int = 3) -> list[dict[str, Any]]:
    """All methods at 20 clients; interference of the factors where both are trained, missed by one of them alone."""
    runs = []
    for name in ALL_METHODS:
        for seed in range(seeds):
            run = fake_run(name, 20, 15, seed)
            run["model"] |= {"adapted_layers": ["first", "second"]}
            for entry in run["rounds"]:
                apart = 0.0 if name in ("ffa-lora", "rolora") else 0.1 * 0.9 ** entry["round"]
                missed = apart if name == "fedavg-lora" else 1e-8
                if name != "local-only":
                    entry["lost"] = {layer: {"interference": apart, "missed": missed} for layer in ("first", "second")}
            runs.append(run)
    return runs


def fake_methods_rates() -> list[dict[str, Any]]:
    """Every method at three learning rates; the middle one is the best."""
    runs = []
    for name in ALL_METHODS:
        for rate, accuracy in ((1e-3, 0.70), (2e-3, 0.75), (4e-3, 0.72)):
            run = fake_run(name, 20, 15, 0)
            run["name"] = f"{run['name']}-{rate:g}"
            run["config"] = run["config"] | {"training": run["config"]["training"] | {"learning_rate": rate}}
            run["final"] = run["final"] | {"accuracy": accuracy}
            runs.append(run)
    return runs


def fake_conformance() -> list[dict[str, Any]]:
    """Three methods and two laws, with each verdict once."""
    verdicts = {
        ("fedavg-lora", 3): ("pass", "misses by the interference"), ("fedavg-lora", 5): ("pass", ""),
        ("rolora", 3): ("pass", ""), ("rolora", 5): ("fail", "3 clients: A is frozen and has changed"),
        ("fedsvd", 3): ("not applicable", "made up"), ("fedsvd", 5): ("exception", "the server turns A"),
    }  # fmt: skip
    return [
        {"subject": name, "law": law, "asks": f"what law {law} asks", "verdict": verdict, "words": words}
        for (name, law), (verdict, words) in verdicts.items()
    ]


def fake_engines() -> dict[str, Any]:
    """Two jobs by three contestants, one of them not measured, and four numbers of clients."""
    config = fake_run("rolora", 20, 2, 0)["config"]
    config = config | {"runtime": {"threads": 2}, "model": {"name": "made-up", "max_length": 32}}
    plain = {"seconds": [2.0, 2.2], "median": 2.1, "difference_of_movement": 0.0}
    plain["speed"] = {"of_medians": 1.0, "least": 1.0, "largest": 1.0}
    fast = {"seconds": [1.0, 1.1], "median": 1.05, "difference_of_movement": 3e-6}
    fast["speed"] = {"of_medians": 2.0, "least": 1.9, "largest": 2.1}
    contestants = {"plain": plain, "batched": fast, "flower": {"not_measured": "not installed"}}
    job = {"config": config, "client_steps": 60, "contestants": contestants}
    clients = [
        {"clients": n, "engine": name, "client_step_seconds": 0.03, "memory_before": 400.0, "memory_peak": 500.0 + n}
        for n in (3, 20, 50, 200)
        for name in ("sequential", "batched")
    ]
    environment = {"processor": "made up", "cores": 2, "packages": {"torch": "0"}}
    return {"jobs": {"all": job, "upper": job}, "clients": clients, "environment": environment}


def fake_profile() -> dict[str, Any]:
    """Two engines, two kinds of operation."""
    made = fake_engines()
    config = made["jobs"]["all"]["config"]
    found = {"config": config, "seconds": {"backbone products": 0.02, "optimiser": 0.01}, "wall": 0.03}
    return {"engines": {"sequential": found, "batched": found}, "environment": made["environment"]}


def fake_gpu_speed() -> dict[str, Any]:
    """One architecture, two contestants that were measured and one that was not."""
    sizes = {"layers": [2, 3], "clients": 8, "rank": 4, "rows": 4, "tokens": 64, "modules": ["query"]}
    found = {"tokens_per_second": 2000.0, "fraction_of_peak_computed": 0.25, "memory": 3.0e9}
    contestants = {
        "batched, groups of 2": found,
        "plain loop, bfloat16": found | {"tokens_per_second": 1000.0},
        "plain loop, float32": {"not_measured": "out of memory"},
    }
    environment = {"device": "made up", "packages": {"torch": "0"}}
    return {"part": "made-up", "sizes": sizes, "contestants": contestants, "environment": environment}


def fake_gpu_memory() -> dict[str, Any]:
    """A run within the bound, one beyond it, one that failed."""
    found = {"parameters": 2_000_000, "planned": {"in all": 2e9}, "measured": 2.2e9, "measured_over_planned": 1.1}
    cases = {
        "within": found,
        "beyond": found | {"measured": 2.6e9, "measured_over_planned": 1.3},
        "failed": {"not_measured": "status 1: made up"},
    }
    code = {"version": "0", "commit": "0123456789"}
    return {"cases": cases, "code": code, "environment": {"device": "made up", "packages": {"torch": "0"}}}


def fake_sweep() -> list[dict[str, Any]]:
    """One method at three learning rates, measured on validation text."""
    runs = []
    for rate, accuracy, loss in ((0.003, 0.70, 0.6), (0.01, 0.75, 0.5), (0.03, 0.75, 0.7)):
        run = fake_run("rolora", 20, 15, 0)
        run["config"]["training"] = run["config"]["training"] | {"learning_rate": rate}
        run["config"]["evaluation"] = {"every": 15, "split": "validation"}
        runs.append(run | {"name": f"sweep-{rate:g}", "final": {"accuracy": accuracy, "loss": loss, "examples": 500}})
    return runs


def write_records(directory: Path, seeds: int = 3) -> Path:
    """Lay all fake records out as the commands do."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {"claims": fake_claims(), "linear": fake_linear(), "nonlinear": fake_nonlinear()}
    made |= {"contraction": fake_contraction(), "sample_complexity": fake_sample_complexity()}
    made |= {"nonlinear_mnist": fake_nonlinear_mnist(), "conformance": fake_conformance()}
    made |= {"conformance_foreign": fake_conformance(), "engines": fake_engines(), "profile": fake_profile()}
    made |= {"gpu_memory": fake_gpu_memory(), "gpu_speed/made-up": fake_gpu_speed()}
    (directory / "gpu_speed").mkdir()
    for name, value in made.items():
        (directory / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    placed = [("finetuning", run) for run in fake_finetuning(seeds)] + [("learning_rates", run) for run in fake_sweep()]
    placed += [("methods", run) for run in fake_methods(seeds)]
    placed += [("methods_rates", run) for run in fake_methods_rates()]
    from tests.paper_figures import made_up_studies  # which is made of the runs above

    studies = made_up_studies.fake_studies()
    placed += [(kind, run) for kind, runs in studies.items() for run in runs]
    (directory / "evaluations").mkdir()
    for name, value in made_up_studies.fake_evaluations(studies["dolly"]).items():
        (directory / "evaluations" / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    for kind, run in placed:
        folder = directory / kind / run["name"]
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(run), encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def records_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of fake records of every kind; not to be changed."""
    return write_records(tmp_path_factory.mktemp("fake") / "records")


@pytest.fixture(scope="session")
def records(records_directory: Path) -> sources.Records:
    """The fake records, read once; not to be changed."""
    return sources.load(records_directory)


Drawn = Callable[[str], Figure]


@pytest.fixture(scope="session")
def drawn(records: sources.Records) -> Drawn:
    """Return the figure of an id, drawn once from the fake records; drawing leaves matplotlib's settings alone."""

    @cache
    def draw(name: str) -> Figure:
        before = dict(matplotlib.rcParams)
        figure = registry.load(name).make(records)
        assert dict(matplotlib.rcParams) == before
        return figure

    return draw


def run(*arguments: str | Path) -> Result:
    """Run a command of ``python -m paper_figures`` in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def rendered(records_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All figures, tables and the report, rendered once by the commands; not to be changed."""
    out = tmp_path_factory.mktemp("rendered")
    assert run("build", "--records", records_directory, "--out", out).exit_code == 0
    assert run("report", "--records", records_directory, "--out", out / "report.html").exit_code == 0
    return out
