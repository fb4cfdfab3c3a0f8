"""The model card beside a saved adapter or model: the hub's metadata and what was done, from the run's record alone.

The same record gives the same bytes: no time, no path, nothing that is looked up when the card is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

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
AUTO_MODELS = {"generation": "AutoModelForCausalLM"}
ENGLISH = ("rotten-tomatoes", "glue/")
"""Data whose language is known by its name."""

UNKNOWN = "not known here; see its source"


def of_adapter(record: Mapping[str, Any]) -> str:
    """The card of the adapter that a run writes."""
    return _card(record, merged=False)


def of_merged(record: Mapping[str, Any]) -> str:
    """The card of the whole model, with adapter, residual and head in its weights."""
    return _card(record, merged=True)


def _card(record: Mapping[str, Any], merged: bool) -> str:
    config = configuration.check(dict(record["config"]), "record")
    what = "Model" if merged else "Adapter"
    sections = {
        "What was trained": _training(record, config),
        "How well it does": _results(record, config),
        "Data": _data(record, config),
        "What was sent": _traffic(record),
        **({"Privacy": _pairs(record["privacy"])} if record.get("privacy") else {}),
        "How to load it": _loading(record, config, merged),
        "Limits": _limits(record, config, merged),
        "Where it comes from": _origin(record, config),
    }
    text = [f"# {what} of the run {record['name']}", ""]
    for title, lines in sections.items():
        text += [f"## {title}", "", *lines, ""]
    return f"---\n{_metadata(record, config, merged).to_yaml()}\n---\n\n" + "\n".join(text)


def task(config: Config) -> str:
    """What the model was trained for; records of before there was a choice are of classification."""
    return getattr(config.data, "task", "classification")


def _metadata(record: Mapping[str, Any], config: Config, merged: bool) -> ModelCardData:
    pipeline, data = PIPELINES[task(config)], _public(config.data.name)
    names = _metrics(record["final"])
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=data,
            dataset_name=record["data"]["name"],
            dataset_split=config.evaluation.split,
            metric_type=name,
            metric_value=record["final"][name],
        )
        for name in names
    ]
    return ModelCardData(
        base_model=_public(config.model.name),
        datasets=[data],
        language="en" if config.data.name.startswith(ENGLISH) else None,
        library_name="transformers" if merged else "peft",
        pipeline_tag=pipeline,
        metrics=names,
        tags=sorted({"federated-learning", "lora", "rolora-toolkit", config.algorithm}),
        model_name=record["name"],
        eval_results=results,
    )


def _public(name: str) -> str:
    """A name as it is, and of a folder or file of somebody's machine the last part alone."""
    local = name.startswith((".", "/", "~")) or name.count("/") > 1
    return Path(name).name if local else name


def _metrics(evaluation: Mapping[str, Any]) -> list[str]:
    """The names of what was measured, without the loss unless it is all there is."""
    return [name for name in evaluation if name not in ("loss", "examples")] or ["loss"]


def _training(record: Mapping[str, Any], config: Config) -> list[str]:
    training, federation, lora = config.training, config.federation, config.lora
    own = f", {training.learning_rate_a:g} for A" if training.learning_rate_a else ""
    part = f", {federation.clients_per_round} of them in every round" if federation.clients_per_round else ""
    modules = lora.target_modules or record["model"]["target_modules"]
    counts = ", ".join(f"{count:,} of {name}" for name, count in record["model"]["trainable"].items())
    return list(
        _pairs(
            {
                "federated method": config.algorithm + _options(config.method),
                "base model": f"{_public(config.model.name)} ({record['model']['source']}), "
                f"{record['model']['parameters']:,} parameters, frozen",
                "adapter": f"LoRA of rank {lora.rank}, alpha {lora.alpha:g}, in {len(record['model']['adapted_layers'])} "
                f"modules ({', '.join(modules)}); trained numbers: {counts}",
                "clients": f"{len(record['data']['client_sizes'])}{part}",
                "partition": federation.partition + _partition_number(config),
                "rounds": f"{len(record['rounds'])}, each of {training.local_steps} local steps of batch "
                f"{training.batch_size}",
                "optimiser": f"{training.optimizer}, learning rate {training.learning_rate:g}{own}",
                **({"at the server": config.server.optimizer} if config.server.optimizer != "none" else {}),
                "seed": record["seed"],
            }
        )
    )


def _options(options: Mapping[str, Any]) -> str:
    return f" ({', '.join(f'{name} {value}' for name, value in options.items())})" if options else ""


def _partition_number(config: Config) -> str:
    federation = config.federation
    number = federation.dirichlet_alpha or federation.labels_per_client
    return "" if number is None else f", {number:g}"


def _results(record: Mapping[str, Any], config: Config) -> list[str]:
    split, select = config.evaluation.split, config.evaluation.select
    final = ", ".join(f"{name} {_number(value)}" for name, value in record["final"].items() if name != "examples")
    after = {
        "last": "after the last round, as planned beforehand",
        "validation": f"{_after(record)}, which validation text chose; test text was measured once",
        "test": f"{_after(record)}, which validation text chose",
    }[select]
    lines = [f"On {record['final']['examples']:,} {split} examples, {after}: {final}."]
    if "final_papers_protocol" in record:
        metric = primary(record["final"])
        found, chosen = record["final_papers_protocol"], record["selection_papers_protocol"]
        lines += [
            "",
            f"By the papers' protocol, which takes the best round on the test text itself ({_after(chosen)}): {metric} "
            f"{_number(found[metric])}. That number is optimistic and is given for comparison with theirs alone.",
        ]
    if record["data"].get("majority_rate") is not None:
        lines += ["", f"Share of the larger class in the test set: {_number(record['data']['majority_rate'])}."]
    return lines


def _after(selected: Mapping[str, Any]) -> str:
    """When the state was measured; rounds are numbered from 0."""
    count = selected.get("selected_round", 0) + 1
    return f"after {count} round{'s' * (count > 1)}"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _data(record: Mapping[str, Any], config: Config) -> list[str]:
    data = record["data"]
    return list(
        _pairs(
            {
                "name": data["name"],
                "source": data["source"],
                "licence": data.get("licence") or LICENCES.get(config.data.name, UNKNOWN),
                "examples": f"{data['train']:,} for training, divided among the clients; {data['validation']:,} for "
                f"validation and {data['test']:,} for testing, which no client held",
            }
        )
    )


def _traffic(record: Mapping[str, Any]) -> list[str]:
    def whole(*directions: str) -> int:
        return sum(sum(entry.get(one, {}).values()) for entry in record["rounds"] for one in directions)

    up, down = whole("bytes_up"), whole("bytes_down", "bytes_joining")
    return [f"{up:,} bytes from the clients and {down:,} bytes to them, counted from the tensors."]


def _loading(record: Mapping[str, Any], config: Config, merged: bool) -> list[str]:
    auto = AUTO_MODELS.get(task(config), "AutoModelForSequenceClassification")
    labels = record["data"].get("label_names") or []
    count = "" if auto in AUTO_MODELS.values() else f", num_labels={max(len(labels), 1)}"
    if merged:
        return [
            "```python",
            f"from transformers import AutoTokenizer, {auto}",
            "",
            f'model = {auto}.from_pretrained("FOLDER").eval()',
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
            "```",
        ]
    packaged = config.model.name in PACKAGED_MODELS
    name = _public(config.model.name)
    return [
        "```python",
        "from peft import PeftModel",
        f"from transformers import AutoTokenizer, {auto}",
        *(
            ["from rolora.models.backbone import locate", "", f'base, _ = locate("{name}")']
            if packaged
            else ["", f'base = "{name}"']
        ),
        f"model = {auto}.from_pretrained(base{count})",
        'model = PeftModel.from_pretrained(model, "FOLDER").eval()',
        "tokenizer = AutoTokenizer.from_pretrained(base)",
        "```",
    ]


def _limits(record: Mapping[str, Any], config: Config, merged: bool) -> list[str]:
    algorithm = config.build_algorithm()
    lines = ["- One run with one seed: how much another seed would change is not in it."]
    if config.federation.num_clients > 1:
        lines.append("- The clients were simulated on one machine; nothing here says how they would do over a network.")
    if not merged and "residual" in algorithm.changed(0) | algorithm.changed(1):
        lines.append(
            "- This method also adds to the backbone: adapter and `residual.safetensors` of the run together are the model "
            "that was measured. `python -m rolora export RUN DIR --merged` writes it whole."
        )
    if algorithm.personal:
        factors = " and ".join(sorted(algorithm.personal))
        lines.append(
            f"- Every client keeps its own {factors} (`personal.safetensors` of the run), and the clients' own models were "
            "measured, each on its part of the text. `python -m rolora export RUN DIR --client N` writes one."
        )
    if config.federation.client_state != "isolated":
        lines.append("- The clients of a round trained one model in turn: a known fault, kept by name to measure it.")
    lines.append("- It was measured on the text named above and on no other; it was not examined for bias or misuse.")
    return lines


def _origin(record: Mapping[str, Any], config: Config) -> list[str]:
    environment, code = record["environment"], record["code"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    model = PACKAGED_MODELS.get(config.model.name)
    return list(
        _pairs(
            {
                "software": f"rolora {code['version']}, commit {code['commit'] or 'not known'}",
                "packages": f"Python {environment['python']}, {packages}",
                "computed on": f"{environment['device_name']}, {environment['dtype']}",
                "config": record["config_hash"],
                "licence of the base model": model.licence if model else UNKNOWN,
                **(
                    {"weights of the base model": f"sha256 {record['model']['sha256']}"}
                    if record["model"]["sha256"]
                    else {}
                ),
                "again": f"`{record['command']}`",
            }
        )
    )


def _pairs(table: Mapping[str, Any]) -> Sequence[str]:
    return list(_lines(table, ""))


def _lines(table: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield f"{indent}- {name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}- {name}: {value}"
