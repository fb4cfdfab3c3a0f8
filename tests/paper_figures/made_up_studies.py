"""Made-up records of the study: runs with one setting changed, and evaluations. Their numbers mean nothing."""

from __future__ import annotations

import copy
from typing import Any

from tests.paper_figures.conftest import METHODS, fake_run

FOLDER = "a-folder/adapter-of-"


def changed(run: dict[str, Any], name: str, level: float = 0.0, **sections: dict[str, Any]) -> dict[str, Any]:
    """A run with other settings, another name, and a final accuracy moved by ``level``."""
    made = copy.deepcopy(run)
    for section, fields in sections.items():
        made["config"][section] = made["config"].get(section, {}) | fields
    made |= {"name": f"{run['name']}-{name}", "config_hash": f"{run['config_hash']}{name}"}
    made["final"]["accuracy"] += level
    return made


def _all(clients: int, rounds: int, seeds: int, methods: tuple[str, ...] = METHODS) -> list[dict[str, Any]]:
    return [fake_run(name, clients, rounds, seed) for name in methods for seed in range(seeds)]


def fake_encoder_tasks(seeds: int = 2) -> list[dict[str, Any]]:
    """SST-2 with rounds chosen on validation text, and TREC by label from a file."""
    made = []
    for run in _all(20, 6, seeds):
        chosen = changed(
            run, "sst2", 0.05, data={"name": "glue/sst2"}, evaluation={"select": "validation", "split": "test"}
        )
        chosen["selection"] = {"by": "validation", "validation": {"accuracy": 0.7}}
        made.append(chosen)
        skewed = {"partition": "by-label", "labels_per_client": 2}
        made.append(changed(run, "trec", 0.1, data={"name": "rows.csv", "benchmark": "trec"}, federation=skewed))
    return made


def fake_dolly(seeds: int = 2) -> list[dict[str, Any]]:
    """Three partitions, a loss that falls."""
    divisions = (
        {"partition": "iid"},
        {"partition": "dirichlet", "dirichlet_alpha": 0.5},
        {"partition": "by-column"},
    )
    made = []
    for number, division in enumerate(divisions):
        for run in _all(10, 6, seeds):
            data = {"name": "rows.jsonl", "task": "generation", "label_column": "category"}
            one = changed(run, f"dolly-{number}", data=data, federation=division)
            one["model"] = {"name": "a-made-up-decoder", "parameters": 135_000_000}
            del one["data"]["majority_rate"]
            for place, measured in [
                (None, one["initial_evaluation"]),
                *enumerate(e["evaluation"] for e in one["rounds"]),
            ]:
                if measured:
                    measured.pop("accuracy")
                    measured |= {
                        "loss": 2.8 - 0.01 * number - (0.0 if place is None else 0.02 * (place + 1)),
                        "tokens": 10,
                    }
            one["final"] = one["rounds"][-1]["evaluation"]
            made.append(one)
    return made


def fake_label_skew(seeds: int = 3) -> list[dict[str, Any]]:
    """Worse with more skew."""
    plan = [({"partition": "by-label", "labels_per_client": 1}, -0.2), ({"partition": "iid"}, 0.0)]
    plan += [({"partition": "dirichlet", "dirichlet_alpha": alpha}, -0.02 / alpha) for alpha in (0.5, 1.0, 10.0)]
    return [
        changed(run, f"skew-{number}", level, federation=division)
        for number, (division, level) in enumerate(plan)
        for run in _all(10, 6, seeds)
    ]


def fake_participation(seeds: int = 2) -> list[dict[str, Any]]:
    """5 and 20 of 20 clients for 6 rounds, and 5 of 20 for 24, which are as many client-steps as 20 for 6."""
    made = []
    for taking_part, rounds in ((5, 6), (20, 6), (5, 24)):
        for run in _all(20, rounds, seeds):
            for entry in run["rounds"]:
                entry["clients"] = entry["clients"][:taking_part]
            made.append(changed(run, f"{taking_part}-{rounds}", federation={"clients_per_round": taking_part}))
    return made


def fake_ranks(seeds: int = 2) -> list[dict[str, Any]]:
    """Ranks 1 and 4 for 4 rounds, and rank 1 for 16, which are as many bytes of a factor."""
    return [
        changed(run, f"rank-{rank}-{rounds}", 0.005 * rank, lora={"rank": rank})
        for rank, rounds in ((1, 4), (4, 4), (1, 16))
        for run in _all(3, rounds, seeds)
    ]


def fake_layer_budgets(seeds: int = 2) -> list[dict[str, Any]]:
    """One and two layers of two matrices."""
    made = []
    for layers in ([5], [4, 5]):
        for run in _all(3, 4, seeds):
            one = changed(run, f"layers-{len(layers)}", lora={"layers": layers})
            one["model"] = one["model"] | {
                "adapted_layers": [f"layer.{n}.{m}" for n in layers for m in ("query", "value")]
            }
            made.append(one)
    return made


def fake_schedules(seeds: int = 2) -> list[dict[str, Any]]:
    """FFA-LoRA, a tenth of A, equal shares, and both factors at the same time."""
    made = _all(20, 6, seeds, ("ffa-lora", "rolora", "fedavg-lora"))
    for schedule in ("BABBBBBBBB", "BBA"):
        made += [changed(run, schedule, method={"schedule": schedule}) for run in _all(20, 6, seeds, ("rolora",))]
    return made


def fake_rate_ratios(seeds: int = 2) -> list[dict[str, Any]]:
    """Two rates of B and three ratios."""
    return [
        changed(run, f"{rate:g}-{ratio:g}", training={"learning_rate": rate, "learning_rate_a": ratio * rate})
        for rate in (0.001, 0.01)
        for ratio in (0.25, 1.0, 4.0)
        for run in _all(20, 6, seeds, ("rolora",))
    ]


def fake_local_steps(seeds: int = 2) -> list[dict[str, Any]]:
    """1 and 20 steps for 20 rounds, and 20 steps for one."""
    return [
        changed(run, f"steps-{steps}-{rounds}", -0.001 * steps, training={"local_steps": steps})
        for steps, rounds in ((1, 20), (20, 20), (20, 1))
        for run in _all(50, rounds, seeds, ("ffa-lora", "rolora"))
    ]


def fake_confound(seeds: int = 2) -> list[dict[str, Any]]:
    """Three methods, isolated and chained, at 3 and 20 clients, by two optimisers; and one run of the older chain."""
    made = [
        changed(fake_run(name, clients, rounds, seed, state), optimizer, training={"optimizer": optimizer})
        for optimizer in ("adamw", "sgd")
        for name in METHODS
        for clients, rounds in ((3, 20), (20, 3))
        for state in ("isolated", "chained")
        for seed in range(seeds)
    ]
    return [*made, changed(fake_run("rolora", 3, 6, 0, "shared"), "confound")]


def fake_movement(seeds: int = 2) -> list[dict[str, Any]]:
    """RoLoRA's two first rounds at 3 and 20 clients, three times as far in the chain."""
    made = []
    for state in ("isolated", "shared", "chained"):
        for clients in (3, 20):
            for seed in range(seeds):
                one = changed(fake_run("rolora", clients, 2, seed, state), "movement")
                for entry in one["rounds"]:
                    apart = state == "chained" or (state == "shared" and entry["round"] > 0)
                    entry["moved"] = {"A" if entry["round"] else "B": (1 + 2 * apart) * (0.1 + 0.01 * seed)}
                made.append(one)
    return made


def fake_evaluations(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A base model, and RoLoRA's adapters of two seeds: of four questions one is gained, and none lost."""
    base = {"name": "a-made-up-decoder", "sha256": "0" * 64, "parameters": 135_000_000}
    made = {"before": _evaluation(base, [True, False, False, False])}
    for run in runs:
        if run["config"]["algorithm"] == "rolora" and run["name"].endswith("dolly-0"):
            model = {"name": FOLDER + "/" + run["name"], "base": base, "adapter_sha256": run["name"]}
            made[run["name"]] = _evaluation(model, [True, True, run["seed"] == 1, False])
    return made


def _evaluation(model: dict[str, Any], right: list[bool]) -> dict[str, Any]:
    answers = [{"id": str(number), "correct": one} for number, one in enumerate(right)]
    common = {"split": "test", "template": "alpaca", "shots": 0, "questions": 4, "available": 4, "seconds": 1.0}
    scored = common | {"accuracy": sum(right) / 4, "interval": [0.1, 0.9], "chance": 0.5, "answers": answers}
    return {
        "format": 1,
        "kind": "evaluation",
        "command": "python -m rolora evaluate made-up",
        "environment": {"device": "cpu"},
        "model": model,
        "seed": 0,
        "results": [
            scored | {"benchmark": "boolq", "how": "generation"},
            scored | {"benchmark": "mmlu", "how": "labels"},
        ],
        "complete": True,
    }


def fake_studies() -> dict[str, list[dict[str, Any]]]:
    """Kind -> runs."""
    return {
        "encoder_tasks": fake_encoder_tasks(),
        "dolly": fake_dolly(),
        "confound": fake_confound(),
        "movement": fake_movement(),
        "label_skew": fake_label_skew(),
        "participation": fake_participation(),
        "ranks": fake_ranks(),
        "layer_budgets": fake_layer_budgets(),
        "schedules": fake_schedules(),
        "rate_ratios": fake_rate_ratios(),
        "local_steps": fake_local_steps(),
    }
