"""Random weights by name: drawn from the seed, of a known shape, and called what they are wherever they are named."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, LlamaConfig
from typer.testing import CliRunner

from rolora.cli import tables
from rolora.cli.app import app
from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import architectures
from rolora.models import backbone as models
from tests.config.test_config import write
from tests.conftest import changed

CPU = torch.device("cpu")
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def load(name, objective="classification", key=0, **changes):
    config = ModelConfig(name=str(name), max_length=8, head="trained", weights="random", **changes)
    return models.load(config, objective, 3, Key(key), torch.float32, CPU)


def folder_of(path, kind, size, tokenizer=None):
    kind(**SMALL, vocab_size=size, max_position_embeddings=32).save_pretrained(path)
    if tokenizer is not None:
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(path)
    return path


def test_all_weights_are_drawn_from_the_key_and_nothing_else_is_drawn(tmp_path, tiny_model):
    folder = folder_of(tmp_path, BertConfig, 17, tiny_model)
    before = torch.random.get_rng_state()
    one, two, other = load(folder), load(folder), load(folder, key=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, weight in one.model.named_parameters():
        assert torch.equal(weight, two.model.get_parameter(name))
    for name in ("bert.embeddings.word_embeddings.weight", "classifier.weight"):
        assert not torch.equal(one.model.get_parameter(name), other.model.get_parameter(name))


def test_a_folder_of_pretrained_weights_lends_its_sizes_and_not_its_weights(tiny_model):
    random = load(tiny_model)
    config = ModelConfig(name=str(tiny_model), max_length=8, head="trained")
    pretrained = models.load(config, "classification", 3, Key(0), torch.float32, CPU)
    assert (random.parameters, random.sha256) == (pretrained.parameters, None)
    name = "bert.embeddings.word_embeddings.weight"
    assert not torch.equal(random.model.get_parameter(name), pretrained.model.get_parameter(name))


@pytest.mark.parametrize(
    ("kind", "size", "objective", "own", "whose"),
    [
        (BertConfig, 17, "classification", True, "its own"),
        (BertConfig, 30522, "classification", False, "that of all-MiniLM-L6-v2"),
        (BertConfig, 30522, "regression", False, "that of all-MiniLM-L6-v2"),
        (LlamaConfig, 32000, "generation", False, "that of all-MiniLM-L6-v2"),  # Llama-2's: the decoder's is larger
    ],
)
def test_the_tokenizer_is_its_own_or_a_packaged_one_that_fits(tmp_path, tiny_model, kind, size, objective, own, whose):
    backbone = load(folder_of(tmp_path, kind, size, tiny_model if own else None), objective)
    assert backbone.source == f"random weights; local folder; tokenizer: {whose}"
    tokenizer = backbone.tokenizer
    ids = tokenizer("a good film")["input_ids"]
    assert max(ids) < size and len(set(ids)) > 3
    assert backbone.model.config.pad_token_id == tokenizer.pad_token_id is not None
    if objective == "generation":
        assert tokenizer.eos_token_id is not None
        assert models.head_modules(backbone.model) == []
    else:
        assert backbone.model.num_labels == (1 if objective == "regression" else 3)


def test_a_vocabulary_that_no_tokenizer_fits_is_one_line(tmp_path):
    with pytest.raises(
        InputError, match=r"and a vocabulary of 17, expected a tokenizer .*all-MiniLM-L6-v2 has 30,522"
    ) as fault:
        load(folder_of(tmp_path, BertConfig, 17))
    assert "\n" not in str(fault.value)


def test_pretrained_weights_without_a_tokenizer_are_refused_not_read_with_one_that_knows_no_word(tmp_path, tiny_model):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    config = ModelConfig(name=str(tmp_path), max_length=8, head="trained")
    with pytest.raises(InputError, match="there is no tokenizer with a vocabulary in"):
        models.load(config, "classification", 2, Key(0), torch.float32, CPU)


def test_a_known_architecture_needs_no_file_and_no_hub():
    """RoBERTa-base is drawn whole; the larger ones differ in numbers alone."""
    backbone = load("roberta-base")
    assert backbone.parameters == architectures.ARCHITECTURES["roberta-base"].parameters
    assert backbone.name == "roberta-base (random weights)"
    assert backbone.source == (
        "random weights; sizes written out in rolora.models.architectures; tokenizer: that of all-MiniLM-L6-v2"
    )


@pytest.mark.parametrize("weights", ["random", "pretrained"])
def test_an_encoder_generates_no_text(tiny_model, weights):
    config = ModelConfig(name=str(tiny_model), max_length=8, head="trained", weights=weights)
    with pytest.raises(InputError, match="got a bert model, an encoder, expected a decoder"):
        models.load(config, "generation", 3, Key(0), torch.float32, CPU)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "there is no such folder"),
        ("owner/unknown", "a hub name"),
        ("random:unknown", "expected random: and"),
    ],
)
def test_an_unknown_shape_is_one_line(name, words):
    with pytest.raises(InputError, match=words):
        load(name)


def test_record_adapter_table_dry_run_and_plan_say_it(table, tmp_path, tiny_model):
    folder = folder_of(tmp_path / "model", BertConfig, 17, tiny_model)
    config = changed(table, model__name=str(folder), model__weights="random", federation__rounds=1)
    record = loop.run(config, tmp_path / "run")
    assert record["model"]["name"] == f"{folder} (random weights)"
    assert record["model"]["source"].startswith("random weights;")
    saved = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == f"{folder} (random weights)"
    (cell,) = tables.results([record]).columns[0].cells
    assert cell == f"{record['name']} (random weights)"
    path = str(write(tmp_path, table))
    for words in (["run", path, "--dry-run"], ["plan", path, "--flops-per-second", "1e9"]):
        given = [f"model.name={folder}", "model.weights=random"]
        answer = CliRunner().invoke(app, [*words, *given])
        assert answer.exit_code == 0, answer.output
        assert "(random weights)" in " ".join(answer.output.split())
        assert "(random weights)" not in CliRunner().invoke(app, words).output


def test_a_tiny_decoder_is_drawn_for_generation_with_its_output_embeddings(tmp_path, tiny_model):
    backbone = load(folder_of(tmp_path, LlamaConfig, 17, tiny_model), "generation")
    assert type(backbone.model).__name__ == "LlamaForCausalLM"
    assert backbone.parameters == sum(parameter.numel() for parameter in backbone.model.parameters())
    with torch.no_grad():
        assert backbone.model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape == (1, 3, 17)
