"""Model card of a saved adapter or model: the hub's metadata and a summary, from the run's record alone.

The same record gives the same bytes: no time, no path, nothing that is looked up when the card is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from rolora import config as configuration
from rolora.config import Config
from rolora.data.sources import LICENCES
from rolora.evaluation.selection import primary
from rolora.models.backbone import PACKAGED_MODELS

FILE = "README.md"
"""The name under which the hub and PEFT look for a card."""

PIPELINES = {
    "classification": "text-classification",
    "regression": "text-classification",
    "generation": "text-generation",
}
ENGLISH = ("rotten-tomatoes", "glue/")
"""Data whose language is known by its name."""

UNKNOWN = "not known here; see its source"


def model_card(record: Mapping[str, Any], *, merged: bool = False) -> str:
    """Return the card of a run's adapter or, if ``merged``, of the whole model with everything in its weights."""
    config = configuration.check(dict(record["config"]), "record")
    algorithm, generates = config.build_algorithm(), config.data.task == "generation"
    model = PACKAGED_MODELS.get(config.model.name)
    rounds, final = record["rounds"], record["final"]
    test_final = record.get("final_papers_protocol", final)
    card = ModelCard.from_template(
        _metadata(record, config, merged),
        template_path=str(Path(__file__).with_suffix(".md")),
        record=record,
        config=config,
        merged=merged,
        base=_public(config.model.name),
        method=f" ({_list(config.method, '{} {}')})" if config.method else "",
        trainable=_list(record["model"]["trainable"], "{1:,} of {0}"),
        skew=config.federation.dirichlet_alpha or config.federation.labels_per_client,
        selection={
            "last": "after the last round, as planned beforehand",
            "validation": f"{_after(record)}, which validation text chose; test text was measured once",
            "test": f"{_after(record)}, which validation text chose",
        }[config.evaluation.select],
        final=_list({name: value for name, value in final.items() if name != "examples"}, "{} {:.4f}"),
        test_selection=_after(record.get("selection_papers_protocol", {})),
        test_final=f"{primary(final)} {test_final[primary(final)]:.4f}",
        data_licence=record["data"].get("licence") or LICENCES.get(config.data.name, UNKNOWN),
        bytes_up=_bytes(rounds, "bytes_up"),
        bytes_down=_bytes(rounds, "bytes_down") + _bytes(rounds, "bytes_joining"),
        auto_model="AutoModelForCausalLM" if generates else "AutoModelForSequenceClassification",
        packaged=model is not None,
        labels=None if generates else max(len(record["data"].get("label_names") or []), 1),
        changes_backbone="residual" in algorithm.changed(0) | algorithm.changed(1),
        personal=sorted(algorithm.personal),
        model_licence=model.licence if model else UNKNOWN,
    )
    return f"{card}\n"


def _metadata(record: Mapping[str, Any], config: Config, merged: bool) -> ModelCardData:
    pipeline, data = PIPELINES[config.data.task], _public(config.data.name)
    metrics = [name for name in record["final"] if name not in ("loss", "examples")] or ["loss"]
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=data,
            dataset_name=record["data"]["name"],
            dataset_split=config.evaluation.split,
            metric_type=name,
            metric_value=record["final"][name],
        )
        for name in metrics
    ]
    return ModelCardData(
        base_model=_public(config.model.name),
        datasets=[data],
        language="en" if config.data.name.startswith(ENGLISH) else None,
        library_name="transformers" if merged else "peft",
        pipeline_tag=pipeline,
        metrics=metrics,
        tags=sorted({"federated-learning", "lora", "rolora-toolkit", config.algorithm}),
        model_name=record["name"],
        eval_results=results,
    )


def _public(name: str) -> str:
    """Return a hub name as it is, and of a local folder or file its last part alone."""
    local = name.startswith((".", "/", "~")) or name.count("/") > 1
    return Path(name).name if local else name


def _list(table: Mapping[str, Any], entry: str) -> str:
    return ", ".join(entry.format(name, value) for name, value in table.items())


def _after(selected: Mapping[str, Any]) -> str:
    """Return when the state was measured; rounds are numbered from 0."""
    count = selected.get("selected_round", 0) + 1
    return f"after {count} round{'s' * (count > 1)}"


def _bytes(rounds: list[Mapping[str, Any]], direction: str) -> int:
    return sum(sum(entry.get(direction, {}).values()) for entry in rounds)
