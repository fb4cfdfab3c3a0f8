"""What is exported is the model that was evaluated, read as a user of PEFT or transformers reads it."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rolora.errors import InputError
from rolora.evaluation import evaluate
from rolora.experiment import loop
from rolora.experiment.export import export, logits
from rolora.models import backbone
from tests.conftest import changed

CPU = torch.device("cpu")
STRONG = {"training__learning_rate": 0.2}


def evaluated(config, model):
    setup = loop.prepare(config)
    return evaluate.evaluate(model, setup.held_out, 64, CPU).as_dict()


def test_the_adapter_has_the_factors_that_were_evaluated(table, tmp_path):
    config = changed(table, **STRONG)
    record = loop.run(config, tmp_path / "run")
    said = export(tmp_path / "run", tmp_path / "out")
    assert "largest difference 0.0e+00" in said
    names = [path.name for path in sorted((tmp_path / "out").iterdir())]
    assert names == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    for name in names[:1] + names[2:]:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "run" / "adapter" / name).read_bytes()
    base = AutoModelForSequenceClassification.from_pretrained(config.model.name, num_labels=2)
    assert evaluated(config, PeftModel.from_pretrained(base, tmp_path / "out")) == record["final"]


@pytest.mark.parametrize("method", ["rolora", "fedex-lora", "flora"])
def test_the_merged_model_has_adapter_residual_and_head_in_its_weights(table, tmp_path, method):
    config = changed(table, algorithm=method, **STRONG)
    record = loop.run(config, tmp_path / "run")
    said = export(tmp_path / "run", tmp_path / "out", merged=True)
    assert "has the evaluated model's logits on 4 texts" in said
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert not [name for name in load_file(tmp_path / "out" / "model.safetensors") if "lora" in name or "start" in name]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert evaluated(config, model)["accuracy"] == record["final"]["accuracy"]
    assert evaluated(config, model)["loss"] == pytest.approx(record["final"]["loss"], rel=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    untouched = AutoModelForSequenceClassification.from_pretrained(config.model.name, num_labels=2)
    untouched.classifier = model.classifier  # the head alone does not explain it
    moved = zip(logits(model, tokenizer), logits(untouched, tokenizer), strict=True)
    # A hundred times what the check allows for rounding, 16 x 3 x 2^-23, and more.
    assert max(float((one - other).abs().max()) for one, other in moved) > 100 * 16 * 3 * 2**-23
    assert "library_name: transformers" in (tmp_path / "out" / "README.md").read_text()


def test_the_state_of_the_selected_round_is_exported(table, tmp_path):
    config = changed(
        table, evaluation__select="validation", evaluation__every=1, training__learning_rate=0.3, federation__rounds=5
    )
    record = loop.run(config, tmp_path / "run")
    assert record["selected_round"] < 4
    export(tmp_path / "run", tmp_path / "out", merged=True)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    found = evaluate.evaluate(model, loop.prepare(config).test, 64, CPU).as_dict()
    assert found["accuracy"] == record["final"]["accuracy"]


def test_a_clients_own_model(table, tmp_path):
    config = changed(table, algorithm="fedsa-lora", **STRONG)
    loop.run(config, tmp_path / "run")
    with pytest.raises(InputError, match=r"every client keeps its own B; expected --client N, 0 to 2"):
        export(tmp_path / "run", tmp_path / "out")
    kept = load_file(tmp_path / "run" / "personal.safetensors")
    for client in (0, 2):
        export(tmp_path / "run", tmp_path / str(client), client=client)
        written = load_file(tmp_path / str(client) / "adapter_model.safetensors")
        for name, tensor in kept.items():
            owner, factor, layer = name.split("|")
            if owner == str(client):
                assert torch.equal(written[f"base_model.model.{layer}.lora_{factor}.weight"], tensor.T)


def test_what_would_not_be_the_evaluated_model_is_refused(table, tmp_path):
    loop.run(changed(table, algorithm="fedex-lora"), tmp_path / "run")
    with pytest.raises(InputError, match=r"its adapter alone is not the model that was evaluated; expected --merged"):
        export(tmp_path / "run", tmp_path / "out")
    with pytest.raises(InputError, match="expected the folder of a finished run"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="expected none with fedex-lora"):
        export(tmp_path / "run", tmp_path / "out", merged=True, client=0)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(table, tmp_path):
    loop.run(changed(table), tmp_path / "run")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="expected a folder that is empty or not there yet"):
        export(tmp_path / "run", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_other_weights_under_the_same_name_are_refused(table, tiny_model, tmp_path, monkeypatch):
    loop.run(changed(table), tmp_path / "run")
    monkeypatch.setattr(backbone, "digest", lambda folder: "0" * 64)
    with pytest.raises(InputError, match=r"expected the same now; .* has 000000000000"):
        export(tmp_path / "run", tmp_path / "out")


def test_a_reload_that_gives_other_logits_is_an_error(table, tmp_path, monkeypatch):
    """The check can fail: a bias of what was written is changed before it is read again."""
    loop.run(changed(table), tmp_path / "run")
    merge = LoraModel.merge_and_unload

    def spoilt(self):
        whole = merge(self)
        with torch.no_grad():
            whole.classifier.bias += 1e-3
        return whole

    monkeypatch.setattr(LoraModel, "merge_and_unload", spoilt)
    with pytest.raises(InputError, match=r"has logits that differ by 1\.0e-03 .* do not use it"):
        export(tmp_path / "run", tmp_path / "out", merged=True)


@pytest.mark.parametrize("name", ["gpt2"])
def test_a_decoder_without_a_pad_token_and_with_transposed_weights(table, tiny_model, tmp_path, name):
    import transformers

    from rolora.keys import Key
    from rolora.models.seeding import named_stream
    from tests.experiment.test_experiment import architectures

    settings, targets = architectures()[name]
    with named_stream(Key(0), CPU):
        transformers.AutoModel.from_config(settings).save_pretrained(tmp_path / name)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    tokenizer.save_pretrained(tmp_path / name)
    run = changed(
        table, model__name=str(tmp_path / name), lora__target_modules=targets, algorithm="fedex-lora", **STRONG
    )
    loop.run(run, tmp_path / "run")
    assert "loaded again" in export(tmp_path / "run", tmp_path / "out", merged=True)


def test_a_language_model_is_exported_as_one(table, tmp_path, tiny_model):
    """A decoder with its own output layer and no head; the task is the record's to say."""
    import json

    import peft
    import transformers

    from rolora.keys import Key
    from rolora.models import peft_boundary
    from rolora.models.seeding import named_stream
    from tests.experiment.test_experiment import architectures

    settings, targets = architectures()["llama"]
    base, run = tmp_path / "base", tmp_path / "run"
    with named_stream(Key(0), CPU):
        model = transformers.AutoModelForCausalLM.from_config(settings)
        model.save_pretrained(base)
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        tokenizer.eos_token = "[SEP]"
        tokenizer.save_pretrained(base)
        lora = peft.LoraConfig(
            task_type="CAUSAL_LM", r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False
        )
        wrapped = peft.get_peft_model(model, lora)
    peft_boundary.save(wrapped, run / "adapter")
    record = loop.run(changed(table, federation__rounds=1), tmp_path / "other")
    record["config"]["model"] |= {"name": str(base), "head": "frozen"}
    record["config"]["data"]["task"], record["model"]["sha256"] = "generation", None
    (run / "record.json").write_text(json.dumps(record))
    expected = logits(wrapped, tokenizer)
    for merged in (False, True):
        out = tmp_path / str(merged)
        assert "loaded again" in export(run, out, merged=merged)
        plain = transformers.AutoModelForCausalLM.from_pretrained(out if merged else base)
        again = plain if merged else peft_boundary.load(plain, out)
        for one, other in zip(logits(again, tokenizer), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert "AutoModelForCausalLM" in (out / "README.md").read_text()
