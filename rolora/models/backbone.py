"""The backbone and its tokenizer: a packaged default, a local folder, a hub name, or random weights of a known shape."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.models import architectures, conversion, quantization
from rolora.models.architectures import DROPOUT_FIELDS
from rolora.models.packaged import DECODER, ENCODER, PACKAGED_MODELS, locate
from rolora.models.seeding import named_stream

__all__ = ["DROPOUT_FIELDS", "PACKAGED_MODELS", "Backbone", "head_modules", "load", "locate", "shown_name"]


@dataclass(frozen=True)
class Backbone:
    """A pretrained model with a fresh classification head, if it has one, and where it came from.

    ``parameters`` counts the pretrained part alone, without head and adapter.
    """

    model: torch.nn.Module
    tokenizer: Any
    name: str
    source: str
    sha256: str | None
    parameters: int


def load(
    config: ModelConfig, objective: str, num_labels: int, key: Key, dtype: torch.dtype, device: torch.device
) -> Backbone:
    """The model for an objective.

    Where there is a head, it is drawn from ``key`` and its start depends on that alone, not on the algorithm, so comparisons
    between algorithms are paired. With ``weights = "random"`` all weights are drawn from it.

    Args:
        config: name, weights, dropout, quantization.
        objective: "classification", "regression" (one output), or "generation" (the model's own output embeddings, no head).
        num_labels: outputs of the head in classification.
        key: the stream of what is drawn.
        dtype: of the weights; of a quantised matrix's products.
        device: where the model is to be.

    Raises:
        InputError: if the model cannot be found or read, does not fit the objective, or cannot be quantised here.
    """
    quiet()
    labels = 1 if objective == "regression" else num_labels
    quantization.check(config.quantization, device)
    read = _random if config.weights == "random" else _pretrained
    return read(config, objective, labels, key, dtype, device)


def shown_name(config: ModelConfig) -> str:
    """Return the model's name in records, tables and saved adapters.

    Example:
        >>> shown_name(ModelConfig(name="roberta-large", max_length=8, head="frozen", weights="random"))
        'roberta-large (random weights)'
    """
    # A record and a saved adapter name the model, not a folder of this machine.
    plain = config.name.removeprefix(architectures.RANDOM)
    return f"{plain} (random weights)" if config.weights == "random" else config.name


def _pretrained(
    config: ModelConfig, objective: str, num_labels: int, key: Key, dtype: torch.dtype, device: torch.device
) -> Backbone:
    location, source = locate(config.name)
    try:
        settings = AutoConfig.from_pretrained(location, num_labels=num_labels, trust_remote_code=False)
        tokenizer = _read_tokenizer(location)
        settings.pad_token_id = tokenizer.pad_token_id
        architectures.set_dropout(settings, config.dropout)
        with named_stream(key.fold("head"), torch.device("cpu")):
            model, parameters = _read(location, settings, objective, config.quantization, dtype, device)
    except (OSError, ValueError, KeyError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = " ".join(str(error).split())[:200]
        capable = "generation" if objective == "generation" else "classification"
        raise InputError(
            f"model.name: got {config.name!r}, expected a packaged name ({', '.join(PACKAGED_MODELS)}), a folder with a "
            f"{capable}-capable model and its tokenizer, or a hub name that can be reached here{offline}; {reason}"
        ) from None
    model.config._name_or_path = shown_name(config)
    return Backbone(model, tokenizer, shown_name(config), source, digest(Path(location)), parameters)


def _read(
    location: str, settings: PretrainedConfig, objective: str, kind: str, dtype: torch.dtype, device: torch.device
) -> tuple[torch.nn.Module, int]:
    """The weights of a folder or hub name, quantised or not, on the device, and the number of those that are pretrained.

    From safetensors alone: the other format is a pickle, which says what is to be executed.
    """
    reader = architectures.model_class(settings, objective)
    if kind == "none":
        model = reader.from_pretrained(location, config=settings, dtype=dtype, use_safetensors=True)
        return model.to(device), pretrained_parameters(model)
    bare = architectures.from_settings(settings, dtype, architectures.META, objective=objective)
    arguments = quantization.arguments(kind, beside_backbone(bare), dtype, device)
    model = reader.from_pretrained(location, config=settings, dtype=dtype, use_safetensors=True, **arguments)
    quantization.narrow_inputs(model)
    return model, pretrained_parameters(bare)


def _random(
    config: ModelConfig, objective: str, num_labels: int, key: Key, dtype: torch.dtype, device: torch.device
) -> Backbone:
    settings, sizes = architectures.settings_of(config.name, num_labels, config.dropout, local=False)
    tokenizer, whose = _tokenizer_for(config.name, settings, objective)
    settings.pad_token_id = tokenizer.pad_token_id
    if config.quantization == "none":
        model = architectures.from_settings(settings, dtype, device, key, objective)
        parameters = pretrained_parameters(model)
    else:  # bitsandbytes quantises what is read from files
        with tempfile.TemporaryDirectory() as folder:
            drawn = architectures.from_settings(settings, dtype, torch.device("cpu"), key, objective)
            drawn.save_pretrained(folder)
            del drawn
            model, parameters = _read(folder, settings, objective, config.quantization, dtype, device)
    model.config._name_or_path = shown_name(config)
    source = f"random weights; {sizes}; tokenizer: {whose}"
    return Backbone(model, tokenizer, shown_name(config), source, None, parameters)


def _tokenizer_for(name: str, settings: PretrainedConfig, objective: str) -> tuple[Any, str]:
    """The model's own tokenizer if it is here, else a packaged one whose numbers the vocabulary has, and whose it is."""
    known = architectures.HUB_NAMES.get(name, name)
    candidates = [known.removeprefix(architectures.RANDOM)]
    candidates += [DECODER, ENCODER] if objective == "generation" else [ENCODER, DECODER]
    refused = []
    for candidate in dict.fromkeys(candidates):
        try:
            place = locate(candidate)[0]
        except InputError:  # a known shape, or a package that is not installed
            continue
        try:
            tokenizer = _read_tokenizer(place, local_files_only=True)
        except (OSError, ValueError, KeyError):
            continue
        size = max(tokenizer.get_vocab().values()) + 1
        if size <= settings.vocab_size:
            if objective == "generation" and tokenizer.eos_token is None:
                tokenizer.eos_token = tokenizer.sep_token  # an encoder's
            return tokenizer, "its own" if candidate == candidates[0] else f"that of {candidate}"
        refused.append(f"{candidate} has {size:,}")
    raise InputError(
        f'model.name: got {name!r} with weights = "random" and a vocabulary of {settings.vocab_size:,}, expected a tokenizer '
        f"beside its config.json, or one of at least the packaged tokenizers' size; {', '.join(refused) or 'none is here'}"
    )


def _read_tokenizer(location: str, **arguments: Any) -> Any:
    """The tokenizer of a folder or hub name.

    Raises:
        ValueError: if there is none; transformers makes one that knows no word where it finds no file of one.
    """
    tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False, **arguments)
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ValueError(f"there is no tokenizer with a vocabulary in {location}")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def head_modules(model: torch.nn.Module) -> list[str]:
    """The names of the modules that transformers puts beside the backbone for classification.

    ``classifier`` for BERT and RoBERTa, ``pooler`` and ``classifier`` for DeBERTa, ``score`` for Llama. A model that
    generates text has none: its output embeddings are pretrained.
    """
    return [] if generates(model) else beside_backbone(model)


def generates(model: torch.nn.Module) -> bool:
    """Return whether the model has output embeddings, so that it gives logits of the next token."""
    return model.get_output_embeddings() is not None


def pretrained_parameters(model: torch.nn.Module) -> int:
    """Return the number of parameters outside the head; tied ones count once."""
    part = model if generates(model) else model.base_model
    return sum(parameter.numel() for parameter in part.parameters())


def beside_backbone(model: torch.nn.Module) -> list[str]:
    """The names of the modules that are no part of the backbone: a head, or the output embeddings."""
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


def digest(folder: Path) -> str | None:
    """SHA-256 of a folder's weights, None where there are none; of several files, that of their digests."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return conversion.sha256(*files) if files else None


def quiet() -> None:
    """No progress bars and warnings of the libraries that load a model."""
    transformers_logging.disable_progress_bar()
    for library in ("transformers", "huggingface_hub", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.ERROR)
