"""What every contestant of the benchmark is given: one job, with its batches and its first adapter ready-made.

Nothing of ``rolora`` is imported here, so that the baselines stand on torch, transformers and peft alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

State = dict[str, torch.Tensor]
"""Adapter and head under the names of PEFT's own state dict."""

Batch = dict[str, torch.Tensor]
"""What the model takes, (rows, tokens) each, and "labels", (rows,)."""

TENSORS, SETTINGS = "given.safetensors", "given.json"


@dataclass(frozen=True)
class Given:
    """A federated job.

    Args:
        algorithm: "fedavg-lora" or "rolora".
        model: the folder with the pretrained weights.
        settings: of the model's config, such as its dropout rates and number of labels.
        dtype: of the backbone.
        lora: rank, alpha, target modules and layers, in PEFT's words.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        weights: what each client counts for.
        config: the same job as a config of ``rolora``.
        start: the first adapter and head.
        batches: by round, client and local step.
    """

    algorithm: str
    model: str
    settings: dict[str, Any]
    dtype: str
    lora: dict[str, Any]
    learning_rate: float
    weight_decay: float
    weights: list[float]
    config: dict[str, Any]
    start: State
    batches: list[list[list[Batch]]]

    @property
    def client_steps(self) -> int:
        """How many local steps the job has, over all rounds and clients."""
        return sum(len(steps) for clients in self.batches for steps in clients)

    def save(self, folder: Path) -> None:
        """Write the job into a folder."""
        tensors = {f"start/{name}": tensor.contiguous() for name, tensor in self.start.items()}
        for t, clients in enumerate(self.batches):
            for client, steps in enumerate(clients):
                for step, batch in enumerate(steps):
                    tensors |= {f"batch/{t}/{client}/{step}/{name}": tensor for name, tensor in batch.items()}
        save_file(tensors, folder / TENSORS)
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        words = {name: value for name, value in named.items() if name not in ("start", "batches")}
        (folder / SETTINGS).write_text(json.dumps(words), encoding="utf-8")


def load(folder: Path) -> Given:
    """The job that :meth:`Given.save` wrote into a folder."""
    start: State = {}
    found: dict[tuple[int, ...], Batch] = {}
    for path, tensor in load_file(folder / TENSORS).items():
        kind, _, rest = path.partition("/")
        if kind == "start":
            start[rest] = tensor
        else:
            t, client, step, name = rest.split("/")
            found.setdefault((int(t), int(client), int(step)), {})[name] = tensor
    rounds: list[list[list[Batch]]] = []
    for (t, client, _), batch in sorted(found.items(), key=lambda item: item[0]):
        if t == len(rounds):
            rounds.append([])
        if client == len(rounds[t]):
            rounds[t].append([])
        rounds[t][client].append(batch)
    words = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    return Given(**words, start=start, batches=rounds)


def build_model(given: Given) -> PeftModel:
    """The pretrained model with PEFT's adapter, as PEFT's documentation makes it."""
    backbone = AutoModelForSequenceClassification.from_pretrained(
        given.model, dtype=getattr(torch, given.dtype), **given.settings
    )
    return get_peft_model(backbone, LoraConfig(task_type=TaskType.SEQ_CLS, **given.lora))
