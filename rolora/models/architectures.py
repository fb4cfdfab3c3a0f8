"""Architectures whose shapes are known without any file.

A model is built from its sizes alone: on torch's meta device, where it has shapes and no memory, or with random weights.
A model of random weights is called ``random:NAME`` and stands for no pretrained one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    LlamaConfig,
    PretrainedConfig,
    RobertaConfig,
)

from rolora.errors import InputError
from rolora.keys import Key
from rolora.models.packaged import PACKAGED_MODELS, locate
from rolora.models.seeding import named_stream

RANDOM = "random:"
"""Prefix of ``model.name`` for random weights; the name of an architecture follows."""

META = torch.device("meta")

DROPOUT_FIELDS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "pooler_dropout", "attention_dropout",
    "hidden_dropout", "dropout", "activation_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout",
)  # fmt: skip
"""The names under which transformers' configs keep a dropout rate."""


@dataclass(frozen=True)
class Architecture:
    """Sizes written out.

    Args:
        settings: makes the transformers config.
        parameters: of the pretrained part, without any head; a test counts them.
        hub: the names under which the hub has pretrained weights of these sizes.
    """

    settings: Callable[[], PretrainedConfig]
    parameters: int
    hub: tuple[str, ...]


def _roberta(hidden: int, layers: int, heads: int) -> RobertaConfig:
    return RobertaConfig(
        vocab_size=50265, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip


def _bert() -> BertConfig:
    return BertConfig(
        vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
        max_position_embeddings=512, type_vocab_size=2, pad_token_id=0,
    )  # fmt: skip


def _deberta(hidden: int, layers: int, heads: int, convolution: int) -> DebertaV2Config:
    return DebertaV2Config(
        vocab_size=128100, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, max_position_embeddings=512, type_vocab_size=0, pad_token_id=0,
        relative_attention=True, max_relative_positions=-1, position_buckets=256, position_biased_input=False,
        pos_att_type=["p2c", "c2p"], share_att_key=True, norm_rel_ebd="layer_norm", layer_norm_eps=1e-7,
        conv_kernel_size=convolution, conv_act="gelu", pooler_hidden_size=hidden,
    )  # fmt: skip


def _llama2() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32000, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=32,
        intermediate_size=11008, max_position_embeddings=4096, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
        pad_token_id=2,
    )  # fmt: skip


def _smollm2() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip


ARCHITECTURES: Mapping[str, Architecture] = {
    "roberta-large": Architecture(lambda: _roberta(1024, 24, 16), 354_310_144, ("FacebookAI/roberta-large",)),
    "roberta-base": Architecture(lambda: _roberta(768, 12, 12), 124_055_040, ("FacebookAI/roberta-base",)),
    "bert-base": Architecture(_bert, 109_482_240, ("google-bert/bert-base-uncased", "bert-base-uncased")),
    "deberta-v3-base": Architecture(lambda: _deberta(768, 12, 12, 0), 183_831_552, ("microsoft/deberta-v3-base",)),
    "deberta-v2-xlarge": Architecture(lambda: _deberta(1536, 24, 24, 3), 884_593_152, ("microsoft/deberta-v2-xlarge",)),
    "llama-2-7b": Architecture(_llama2, 6_607_343_616, ("meta-llama/Llama-2-7b-hf", "Llama-2-7b-hf")),
    "smollm2-135m": Architecture(_smollm2, 134_515_008, ("HuggingFaceTB/SmolLM2-135M", "SmolLM2-135M")),
}
"""By name. RoBERTa-large is published as 355M (with a pooler, which classification leaves out), Llama-2-7B as 6.74B, of
which 131,072,000 are the language head that classification leaves out."""

HUB_NAMES: Mapping[str, str] = {hub: name for name, one in ARCHITECTURES.items() for hub in one.hub} | {
    "sentence-transformers/all-MiniLM-L6-v2": "all-MiniLM-L6-v2"
}
"""Names on the hub -> architecture, or packaged model, of the same sizes."""

NAMES = (*ARCHITECTURES, *PACKAGED_MODELS)
"""All that :func:`build` knows: the sizes of packaged models are in their own config.json."""


def settings_of(
    name: str, num_labels: int, dropout: float | None = None, *, local: bool = True
) -> tuple[PretrainedConfig, str]:
    """The transformers config of a model, without its weights and, if ``local``, without a network.

    Args:
        name: as in ``model.name``: packaged, a folder, a name of :data:`ARCHITECTURES` (with or without ``random:``), one
            of :data:`HUB_NAMES`, or a hub name whose config.json is in the local cache.
        num_labels: outputs of the head.
        dropout: all of the model's rates; its own if None.
        local: whether the hub is not asked.

    Returns:
        The config, and where its sizes are from.

    Raises:
        InputError: if none of these has the name, or the file does not describe a model.
    """
    plain = name.removeprefix(RANDOM)
    known = HUB_NAMES.get(plain, plain)
    if plain != name and known not in NAMES:
        raise InputError(f"model.name: got {name!r}, expected {RANDOM} and one of {', '.join(NAMES)}")
    settings, source = _settings_and_source(known, written=plain != name, local=local)
    settings.num_labels = num_labels
    set_dropout(settings, dropout)
    return settings, source


def _settings_and_source(name: str, *, written: bool, local: bool) -> tuple[PretrainedConfig, str]:
    if name in PACKAGED_MODELS:
        packaged = PACKAGED_MODELS[name]
        return packaged.settings(packaged.weights().parent), packaged.source()
    location, source = locate(name)
    if name in ARCHITECTURES and (source == "hub" or written):
        return ARCHITECTURES[name].settings(), "sizes written out in rolora.models.architectures"
    place = source if source != "hub" else "hub cache" if local else "hub"
    return _from_file(name, location, local), place


def set_dropout(settings: PretrainedConfig, rate: float | None) -> None:
    """Set all of a config's dropout rates, where it has them; leave them if None."""
    for field in DROPOUT_FIELDS if rate is not None else ():
        if getattr(settings, field, None) is not None:
            setattr(settings, field, rate)


def _from_file(name: str, location: str, local: bool) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(location, local_files_only=local, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = "it is none of them" if location == name else " ".join(str(error).split())[:120]
        raise InputError(
            f"model.name: got {name!r}, expected a folder with a model's config.json, one of {', '.join(NAMES)}, a hub name "
            f"of one of these, or one whose config.json is in the local cache; {reason}"
        ) from None


def build(
    name: str, num_labels: int, dtype: torch.dtype, device: torch.device, key: Key | None = None
) -> torch.nn.Module:
    """A sequence-classification model of a known architecture: shapes alone on "meta", elsewhere random weights.

    Args:
        name: one of :data:`NAMES`, or of :data:`HUB_NAMES`.
        num_labels: outputs of the head.
        dtype: of all parameters.
        device: where; on "meta" it takes no memory.
        key: the stream of the random weights; not needed on "meta".

    Returns:
        The model; it calls itself ``random:NAME``, so that whatever is saved from it says so.

    Raises:
        InputError: if the name is not known.

    Example:
        >>> model = build("roberta-large", 2, torch.float32, torch.device("meta"))
        >>> sum(parameter.numel() for parameter in model.base_model.parameters())
        354310144
    """
    known = HUB_NAMES.get(name.removeprefix(RANDOM), name.removeprefix(RANDOM))
    if known not in NAMES:
        raise InputError(f"architecture: got {name!r}, expected one of {', '.join(NAMES)}")
    settings = ARCHITECTURES[known].settings() if known in ARCHITECTURES else settings_of(known, num_labels)[0]
    settings.num_labels = num_labels
    if key is None and device != META:
        raise ValueError(f"random weights on {device}: got no key to draw them from")
    model = from_settings(settings, dtype, device, key)
    model.config._name_or_path = f"{RANDOM}{known}"
    return model


def from_settings(
    settings: PretrainedConfig,
    dtype: torch.dtype,
    device: torch.device,
    key: Key | None = None,
    objective: str = "classification",
) -> torch.nn.Module:
    """The model of a config, its weights drawn from ``key``, or without weights on "meta".

    Args:
        settings: of transformers.
        dtype: of all parameters.
        device: where; on "meta" it takes no memory.
        key: the stream of the random weights.
        objective: "classification", "regression" or "generation".

    Raises:
        InputError: if transformers has no such model for this objective.
    """
    kind = model_class(settings, objective)
    stream = nullcontext() if key is None else named_stream(key.fold("random weights"), device)
    try:
        with stream, device:
            return kind.from_config(settings, dtype=dtype)
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        can = "generate text" if objective == "generation" else "classify sequences"
        raise InputError(
            f"model.name: got a {settings.model_type} model, expected one that can {can}; {reason}"
        ) from None


def model_class(settings: PretrainedConfig, objective: str) -> type:
    """The class of transformers that loads a model for an objective.

    Raises:
        InputError: if text is to be generated and the model is an encoder, whose tokens see what follows them.
    """
    if objective != "generation":
        return AutoModelForSequenceClassification
    if type(settings) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(settings, "is_decoder", False):
        raise InputError(
            f"model.name: got a {settings.model_type} model, an encoder, expected a decoder, which can generate text, such as "
            "SmolLM2-135M-Instruct"
        )
    return AutoModelForCausalLM
