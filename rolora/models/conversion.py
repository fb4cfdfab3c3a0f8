"""Packaged weights in another format, converted once to a folder that transformers loads, and kept in a cache.

The cache is the folder of the environment variable ``ROLORA_CACHE``, or ``rolora`` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BertModel, RobertaConfig, RobertaModel
from transformers.utils import is_gguf_available

from rolora import records
from rolora.errors import InputError

NOTE = "converted.json"
"""File in a converted folder that names its source."""

LAYOUT = 1
"""The version of what the conversions here write: a folder of another one is made again."""


def cache_folder() -> Path:
    """Return the folder of converted models."""
    given = os.environ.get("ROLORA_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "rolora"


def converted(name: str, source: Path, convert: Callable[[Path, Path], None]) -> Path:
    """The folder of a converted model; converted now if there is none, or the source is no longer what it was.

    It is made beside its place and renamed when it is complete: a process that is stopped leaves no half of a model, and of
    two that convert at the same time one is used.

    Args:
        name: of the model, and of its folder.
        source: the packaged file of weights.
        convert: writes what it makes of (source) into (folder).

    Raises:
        OSError: it could not be written; names the folder.
    """
    folder = cache_folder() / name
    note = {"source": source.name, "sha256": sha256(source), "layout": LAYOUT}
    if _note(folder) == note:
        return folder
    making = folder.with_name(f".{name}.{os.getpid()}")
    with records.naming(folder):
        _remove_leftovers(folder)
        making.mkdir(parents=True)
        try:
            # A library may initialise what it then overwrites.
            with torch.random.fork_rng(devices=[]), _quiet_unless_watched():
                convert(source, making)
            records.write_json(making / NOTE, note)
            records.flush(making)
            _put_in_place(making, folder, note)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


def _remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed had begun."""
    for path in folder.parent.glob(f".{folder.name}.*"):
        process = path.suffix.removeprefix(".")
        if process.isdecimal() and not records.is_running(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _note(folder: Path) -> object:
    try:
        return json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _put_in_place(making: Path, folder: Path, note: object) -> None:
    """Rename ``making`` to ``folder``; what was there goes, unless another process has just put the same there."""
    if folder.exists() and _note(folder) != note:
        old = making.with_name(f"{making.name}.old")
        with suppress(OSError):  # another process may just have done the same
            folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        making.rename(folder)
    except OSError:
        if _note(folder) != note:
            raise


def sha256(*paths: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content or, for several files, of their concatenated digests."""
    digests = []
    for path in paths:
        with path.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256"))
    return (
        digests[0].hexdigest()
        if len(digests) == 1
        else hashlib.sha256(b"".join(d.digest() for d in digests)).hexdigest()
    )


def from_gguf(source: Path, folder: Path) -> None:
    """A decoder from a GGUF file: weights dequantised to float32, in which all their values are exact, and tokenizer.

    Raises:
        InputError: if the package that reads the format is missing.
    """
    if not is_gguf_available():
        raise InputError(
            f"model.name: {source.name} is converted by the package gguf; install it with: pip install gguf"
        )
    settings = AutoConfig.from_pretrained(source.parent, gguf_file=source.name)
    vars(settings).pop("_model_name_or_path", None)  # the file's own title; a saved model has another name
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    read = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, config=settings, dtype=torch.float32
    )
    # transformers does not save what it has read from GGUF, although it is a plain model by now.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _quiet_unless_watched() -> Iterator[None]:
    """Within it, progress bars are drawn on a terminal alone."""
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
        yield


def bert_as_roberta(source: Path, folder: Path) -> None:
    """A BERT's encoder written as a RoBERTa's, whose hidden states are the same.

    RoBERTa counts positions from one behind its padding token, which is BERT's 0 here: its table of positions has a row
    of zeros more, in front. Token types, layers and names are the same; BERT's pooler has no place.
    """
    bert = BertModel.from_pretrained(source.parent, add_pooling_layer=False, dtype=torch.float32)
    with torch.device("meta"):
        roberta = RobertaModel(roberta_settings(bert.config), add_pooling_layer=False)
    weights = bert.state_dict()
    positions = weights["embeddings.position_embeddings.weight"]
    weights["embeddings.position_embeddings.weight"] = torch.cat([torch.zeros_like(positions[:1]), positions])
    roberta.load_state_dict(weights, assign=True)
    roberta.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent).save_pretrained(folder)


def roberta_settings(bert: object) -> RobertaConfig:
    """The RoBERTa of a BERT's sizes, with BERT's padding token."""
    same = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
        "hidden_dropout_prob", "attention_probs_dropout_prob", "type_vocab_size", "initializer_range", "layer_norm_eps",
    )  # fmt: skip
    return RobertaConfig(
        **{field: getattr(bert, field) for field in same},
        max_position_embeddings=bert.max_position_embeddings + 1,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
