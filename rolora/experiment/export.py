"""A finished run as files that other software loads: PEFT's adapter, or the whole model with everything in its weights.

What is written is read again the plain way, as a user of PEFT or transformers would, and has to give the logits of the
model that the run evaluated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rolora import config as configuration
from rolora import records
from rolora.config import Config
from rolora.errors import InputError
from rolora.experiment import model_card
from rolora.federation import ServerState
from rolora.federation.state_tensors import state_from
from rolora.keys import Key
from rolora.models import backbone, peft_boundary, precision
from rolora.models.seeding import named_stream

TEXTS = (
    "a film",
    "the plot was fine, and the cast was not",
    "Good.",
    "the film was a poor one: it had neither plot nor cast, and no end that one could see coming or going",
)
"""Texts for the comparison, of different lengths so that padding is part of it."""

ROUNDINGS = 16
"""Roundings of a layer, as in ``rolora.training.prefix_cache``: merging rounds the weights where the adapter rounded its own products."""

CPU = torch.device("cpu")


def export(run: Path, folder: Path, *, merged: bool = False, client: int | None = None) -> str:
    """Write what a run has trained, and check it by reading it again.

    Args:
        run: the folder of a finished run.
        folder: gets the files; must not exist or be empty.
        merged: the whole model by PEFT's ``merge_and_unload``, a residual and the trained head included, with its
            tokenizer, instead of the adapter.
        client: whose own factors, for a method that has such.

    Returns:
        What was written and how far the logits of a plain reload are from those of the evaluated model.

    Raises:
        InputError: the run is not finished, the folder is not empty, the adapter alone is not the model, the base model is
            another one now, or the reloaded model differs by more than rounding.
    """
    record, config = _finished(run)
    _check_choice(run, config, merged, client)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"export: got {folder}, expected a folder that is empty or not there yet; nothing was written")
    tokenizer, model = _evaluated(run, record, config, client)
    expected, depth = logits(model, tokenizer), model.get_base_model().config.num_hidden_layers
    folder.mkdir(parents=True, exist_ok=True)
    with records.naming(folder):
        if merged:
            whole = model.merge_and_unload()
            whole.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        else:
            peft_boundary.save(model, folder)
    records.write_bytes(folder / model_card.FILE, model_card.model_card(record, merged=merged).encode())
    records.flush(folder)
    again = _plain(folder, config) if merged else peft_boundary.load(_base(record, config)[1], folder)
    allowed = ROUNDINGS * (depth + 1) * torch.finfo(_dtype(config)).eps
    return _compared(f"{folder}: the {'model' if merged else 'adapter'}", expected, logits(again, tokenizer), allowed)


def _finished(run: Path) -> tuple[dict[str, Any], Config]:
    if not (run / "record.json").exists():
        raise InputError(f"export: got {run}, expected the folder of a finished run, with its record.json and adapter/")
    record = records.read_json(run / "record.json")
    if not isinstance(record, dict) or record.get("status") != "finished" or "config" not in record:
        raise InputError(f"{run / 'record.json'}: expected the record of a finished run")
    return record, configuration.check(record["config"], str(run / "record.json"))


def _check_choice(run: Path, config: Config, merged: bool, client: int | None) -> None:
    """Refuse what would not be the model that was evaluated."""
    personal = config.build_algorithm().personal
    if personal and client is None:
        factors = " and ".join(sorted(personal))
        raise InputError(
            f"export: {config.algorithm} has no common model, every client keeps its own {factors}; expected --client N, "
            f"0 to {config.federation.num_clients - 1}"
        )
    if client is not None and not personal:
        raise InputError(f"export: got --client {client}, expected none with {config.algorithm}: all have one model")
    if client is not None and not 0 <= client < config.federation.num_clients:
        raise InputError(f"export: got --client {client}, expected 0 to {config.federation.num_clients - 1}")
    if (run / "residual.safetensors").exists() and not merged:
        raise InputError(
            f"export: {config.algorithm} also changes the backbone, so its adapter alone is not the model that was "
            "evaluated; expected --merged"
        )


def _base(record: dict[str, Any], config: Config) -> tuple[Any, torch.nn.Module]:
    """The tokenizer and the base model as transformers load them, with a head that the adapter's replaces."""
    location, _ = backbone.locate(config.model.name)
    digest = record["model"]["sha256"]
    if digest is not None and (found := backbone.digest(Path(location))) != digest:
        raise InputError(
            f"model.name: the run was made with weights of sha256 {digest[:12]}, expected the same now; "
            f"{config.model.name} has {str(found)[:12]}"
        )
    backbone.quiet()
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        labels = {} if _generates(config) else _labels(record, config)
        settings = AutoConfig.from_pretrained(location, trust_remote_code=False, **labels)
        settings.pad_token_id = tokenizer.pad_token_id
        with named_stream(Key(0).fold("export"), CPU):  # of a head that is replaced
            # In the run's own dtype first: what a backbone in bfloat16 has lost is part of what was evaluated.
            model = _auto(config).from_pretrained(
                location, config=settings, dtype=precision.DTYPES[config.runtime.dtype], use_safetensors=True
            )
    except (OSError, ValueError, KeyError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise InputError(
            f"model.name: got {config.model.name!r}, expected the run's base model, which cannot be loaded here{offline}; "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    return tokenizer, model.to(_dtype(config))


def _labels(record: dict[str, Any], config: Config) -> dict[str, Any]:
    """Return the head's outputs as transformers' settings: their names, or their number where the names are numbers."""
    names = [str(name) for name in record["data"].get("label_names") or ["0"]]
    if config.data.task == "regression":
        return {"num_labels": 1}
    if all(name.isdecimal() for name in names):
        return {"num_labels": len(names)}
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def _generates(config: Config) -> bool:
    return config.data.task == "generation"


def _auto(config: Config) -> Any:
    return AutoModelForCausalLM if _generates(config) else AutoModelForSequenceClassification


def _dtype(config: Config) -> torch.dtype:
    """In float32 at least, as adapters are, so that merging loses nothing of them."""
    return torch.float64 if config.runtime.dtype == "float64" else torch.float32


def _plain(folder: Path, config: Config) -> torch.nn.Module:
    return _auto(config).from_pretrained(folder, dtype=_dtype(config), use_safetensors=True)


def _evaluated(run: Path, record: dict[str, Any], config: Config, client: int | None) -> tuple[Any, PeftModel]:
    """The tokenizer and the model that was evaluated: base, adapter, head, what was folded in, what the client kept."""
    tokenizer, base = _base(record, config)
    model = peft_boundary.load(base, run / "adapter")
    state = peft_boundary.read(model, head=True)
    if (run / "residual.safetensors").exists():
        added = load_file(run / "residual.safetensors")
        layers = {name: replace(layer, residual=added.get(name)) for name, layer in state.layers.items()}
        state = replace(state, layers=layers)
    if client is not None:
        state = _of_client(run, state, client)
    peft_boundary.write(model, state)
    # What the adapter's config names as its base: the name, and not the folder that it was found in here.
    model.peft_config[peft_boundary.ADAPTER].base_model_name_or_path = config.model.name
    return tokenizer, model


def _of_client(run: Path, state: ServerState, client: int) -> ServerState:
    """The server's state with the factors that a client kept; one that never took part has the server's."""
    kept = state_from({f"personal|{name}": tensor for name, tensor in load_file(run / "personal.safetensors").items()})
    own = kept.personal.get(client, {})
    return replace(state, layers={name: replace(layer, **own.get(name, {})) for name, layer in state.layers.items()})


@torch.no_grad()
def logits(model: torch.nn.Module, tokenizer: Any, texts: Sequence[str] = TEXTS) -> list[torch.Tensor]:
    """A model's logits of some texts, padded to one length; of a decoder, those of a text's own tokens."""
    model.eval()
    tokenizer.padding_side = "right"
    batch = tokenizer(list(texts), return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    with precision.arithmetic(model):
        found = model(**batch).logits.double()
    if found.ndim == 2:
        return list(found)
    return [row[mask.bool()] for row, mask in zip(found, batch["attention_mask"], strict=True)]


def _compared(what: str, expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor], allowed: float) -> str:
    """One line on how near the reloaded model is; an error, with the files in place, if it is another model.

    ``allowed`` is relative to the largest logit, and to 1 where that is smaller: a logit is a difference of such.
    """
    difference = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True))
    largest = max(float(one.abs().max()) for one in expected)
    if not difference <= allowed * max(largest, 1.0):
        raise InputError(
            f"export: {what}, loaded again, has logits that differ by {difference:.1e} from the evaluated model's, expected "
            f"at most {allowed * max(largest, 1.0):.1e} ({ROUNDINGS} roundings a layer); do not use it"
        )
    return (
        f"{what}, loaded again, has the evaluated model's logits on {len(TEXTS)} texts: largest difference "
        f"{difference:.1e} of logits up to {largest:.2f}"
    )
