"""Measurements of the training engines' benchmark, arranged for figures and tables."""

from __future__ import annotations

from typing import Any

LABELS = {
    "plain": "plain PEFT loop",
    "flower": "Flower simulation",
    "sequential": "sequential",
    "batched": "batched",
    "batched-prefix": "batched, prefix cache",
    "batched-bf16": "batched, bfloat16",
    "batched-bf16-prefix": "batched, bfloat16, prefix cache",
    "batched-bf16-compiled": "batched, bfloat16, compiled",
    "batched-bf16-compiled-prefix": "batched, bfloat16, compiled, prefix cache",
}
"""Contestant -> how it is called, in the order of tables."""

COLORS = {
    "plain": "#777777",
    "flower": "#CC79A7",
    "sequential": "#D55E00",
    "batched": "#0072B2",
    "batched-prefix": "#56B4E9",
    "batched-bf16": "#009E73",
    "batched-bf16-prefix": "#8CC5A7",
    "batched-bf16-compiled": "#E69F00",
    "batched-bf16-compiled-prefix": "#F2CF80",
}
"""Contestant -> colour."""

JOBS = {"all": "adapters in all layers", "upper": "adapters in the upper third of the layers"}
"""Part of the benchmark -> what it trains."""


def measured(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The contestants of a job that were measured, in the order of :data:`LABELS`."""
    entries = {name: entry for name, entry in found["contestants"].items() if "not_measured" not in entry}
    return {name: entries[name] for name in [*LABELS, *sorted(entries.keys() - LABELS.keys())] if name in entries}


def label(name: str) -> str:
    """Return the name of a contestant in print."""
    return LABELS.get(name, name)


def size(job: dict[str, Any]) -> str:
    """A job in a line, from its config."""
    config = job["config"]
    federation, training, model = config["federation"], config["training"], config["model"]
    return (
        f"{model['name']}, {federation['num_clients']} clients, {federation['rounds']} rounds x {training['local_steps']} "
        f"local steps of {training['batch_size']} x {model['max_length']} tokens, LoRA rank {config['lora']['rank']}, "
        f"{training['optimizer']}"
    )


def passes(job: dict[str, Any]) -> int:
    """Return the number of passes of each contestant."""
    return max(len(entry["seconds"]) for entry in measured(job).values())


def machine(record: dict[str, Any]) -> str:
    """Return the machine in words."""
    environment = record["environment"]
    return f"{environment['processor']}, {environment['cores']} cores, torch {environment['packages']['torch']}"
