"""Kept hidden states: what is trained and measured with them is what is trained and measured without them."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from rolora.errors import InputError
from rolora.evaluation.evaluate import evaluate
from rolora.experiment import loop
from rolora.experiment.setup import keep_hidden_states, prepare
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.models.seeding import named_stream
from rolora.training import local_update
from rolora.training import prefix_cache as prefix_module
from rolora.training.engines import ENGINES
from rolora.training.examples import by_length
from rolora.training.frozen_layers import LowerLayers, Refused
from rolora.training.prefix_cache import Prefix
from tests.conftest import changed
from tests.training import rounds as rounds_of
from tests.training.rounds import entries, furthest

SMALL = {
    "vocab_size": 17,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.2,  # so that every layer changes what it is given by as much as a pretrained one
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 4, "share_att_key": True}
ARCHITECTURES = {
    "bert": (transformers.BertConfig, {"max_position_embeddings": 40}, ["query", "value"]),
    "roberta": (transformers.RobertaConfig, {"max_position_embeddings": 40}, ["query", "value"]),
    "deberta-v2": (transformers.DebertaV2Config, {"max_position_embeddings": 40} | RELATIVE, ["value_proj"]),
    "deberta-v2 with convolution": (
        transformers.DebertaV2Config,
        {"max_position_embeddings": 40, "conv_kernel_size": 3, "conv_act": "gelu"} | RELATIVE,
        ["value_proj"],
    ),
    "llama": (transformers.LlamaConfig, {"num_key_value_heads": 1, "pad_token_id": 0}, ["q_proj", "v_proj"]),
    "qwen2": (transformers.Qwen2Config, {"num_key_value_heads": 1, "pad_token_id": 0}, ["q_proj", "v_proj"]),
}


@pytest.fixture(scope="session")
def folders(tiny_model, tmp_path_factory):
    """The folder of a four-layer model of each architecture with random weights."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    root = tmp_path_factory.mktemp("architectures")
    for name, (settings, own, _) in ARCHITECTURES.items():
        with named_stream(Key(0).fold(name), torch.device("cpu")):
            transformers.AutoModel.from_config(settings(**SMALL | own)).save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root


HARD = {
    "model__dropout": 0.0,
    "lora__layers": [2, 3],
    "federation__num_clients": 5,
    "federation__clients_per_round": 4,
    "federation__partition": "dirichlet",
    "federation__dirichlet_alpha": 0.5,
    "training__local_steps": 4,
    "training__batch_size": 7,
    "training__max_grad_norm": 0.5,
    "runtime__dtype": "float64",
    "runtime__prefix_cache": True,
}
"""Ragged texts and batches, clients of different sizes of which some take part; the adapter drops, the backbone does not."""


def hard(table, folders, name, **changes):
    own = {"model__name": str(folders / name), "lora__target_modules": ARCHITECTURES[name][2]}
    return changed(table, **HARD | own | changes)


def kept(config, folder=None):
    """What exists before round 0, with its hidden states."""
    setup = prepare(config)
    keep_hidden_states(setup, folder)
    return setup


def play(setup, prefix, rounds=2):
    """The state after some rounds, and the held-out loss."""
    server, _ = rounds_of.play(setup, rounds_of.engine_of(setup, prefix=prefix), rounds)
    peft_boundary.write(setup.model, server)
    return server, evaluate(setup.model, setup.held_out, 16, setup.device, prefix=prefix).loss


TOLERANCE = 1e-10
"""Rounding of 2e-16 in hidden states, through eight steps of AdamW on sixty-odd numbers a layer; other engines are as far."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_and_evaluation_with_kept_hidden_states_are_those_without(table, folders, name, engine):
    config = hard(table, folders, name, runtime__engine=engine)
    setup = kept(config)
    assert setup.prefix_record["layers_below"] == 2
    found, loss = play(setup, setup.prefix)
    expected, expected_loss = play(prepare(config), None)
    assert furthest(found, expected) < TOLERANCE
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "engine", "filled", "used"), [("bert", "sequential", 1, 2), ("llama", "batched", 3, 2)]
)
def test_the_test_fails_where_another_layers_input_is_kept(table, folders, name, engine, filled, used):
    """The control: states that enter the layer below or above in the place of the right ones."""
    config = hard(table, folders, name, runtime__engine=engine)
    setup = kept(config)
    layers = next(part for part in setup.model.modules() if isinstance(part, torch.nn.ModuleList))
    setup.prefix.lower.first_adapted = layers[filled]
    for source in setup.prefix.sources:
        setup.prefix._fill(source, 16)
    setup.prefix.lower.first_adapted = layers[used]
    found, _ = play(setup, setup.prefix)
    expected, _ = play(prepare(config), None)
    assert furthest(found, expected) > 1e6 * TOLERANCE


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_below_is_computed(table, folders, name, engine):
    setup = kept(hard(table, folders, name, runtime__engine=engine))
    lower, called = setup.prefix.lower, {"below": 0, "adapted": 0}

    def count(where):
        return lambda *_: called.update({where: called[where] + 1})

    for module in (lower.embedding, *lower.skipped_layers):
        for part in [part for part in module.modules() if part is not module] or [module]:
            part.register_forward_hook(count("below"))
    lower.first_adapted.register_forward_hook(count("adapted"))
    play(setup, setup.prefix, rounds=1)
    passes = (4 if engine == "batched" else 4 * 4) + -(-len(setup.held_out) // 16)
    # Llama's embedding has no parts: it is called, and answers without looking anything up.
    blank = passes if isinstance(lower.embedding, torch.nn.Embedding) else 0
    assert called == {"below": blank, "adapted": passes}
    play(setup, None, rounds=1)
    assert called["below"] > 2 * passes


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_stands_where_a_text_is_padded_changes_no_bit(table, folders, name):
    """Wild numbers there instead of a copy of the last token: the same gradients to the bit."""
    setup = kept(hard(table, folders, name))
    found, _ = play(setup, setup.prefix, rounds=1)
    other = kept(setup.config)
    gather = other.prefix._gather

    def wild(texts, tokens):
        states = gather(texts, tokens)
        for row, (source, index) in enumerate(texts):
            states[row, len(source.fields["input_ids"][index]) :] = 1e3
        return states

    other.prefix._gather = wild
    changed_there, _ = play(other, other.prefix, rounds=1)
    assert all(torch.equal(tensor, dict(entries(found))[key]) for key, tensor in entries(changed_there))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_shapes_give_equal_bits(table, folders, name, dtype):
    """Evaluation takes the batches of the filling; so the numbers are the same, not nearly the same."""
    setup = kept(hard(table, folders, name, runtime__dtype=dtype, evaluation__batch_size=16))
    peft_boundary.write(setup.model, trained(setup))
    one, other = (evaluate(setup.model, setup.held_out, 16, setup.device, prefix=p) for p in (setup.prefix, None))
    assert one == other
    chosen = by_length(setup.train)[:16]
    inputs, _ = setup.train.batch(chosen, setup.device)
    fresh = setup.prefix.lower.hidden_states(inputs)
    again = setup.prefix._gather([(setup.train, int(index)) for index in chosen], inputs["input_ids"].shape[1])
    real = inputs["attention_mask"].bool()
    assert fresh.dtype == again.dtype
    assert torch.equal(fresh[real], again[real])


def trained(setup):
    """A state whose adapter does something."""
    server = peft_boundary.read(setup.model, head=True)
    layers = {name: replace(layer, B=torch.ones_like(layer.B)) for name, layer in server.layers.items()}
    return replace(server, layers=layers)


def test_parts_of_the_held_out_text_are_evaluated_with_the_same_states(table, folders):
    setup = kept(hard(table, folders, "bert"))
    part = np.arange(3, 30, 2)
    found = evaluate(setup.model, setup.held_out, 16, setup.device, part, setup.prefix)
    assert found == evaluate(setup.model, setup.held_out.select(part), 16, setup.device, None, None)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("bert", {"model__dropout": None}, "hidden_dropout_prob is 0.1: .* set model.dropout = 0.0"),
        ("llama", {"model__dropout": 0.2}, "attention_dropout is 0.2"),
        ("bert", {"lora__layers": None}, "layer 0 is adapted: there is no layer below"),
        (
            "bert",
            {"lora__layers": None, "lora__target_modules": ["pooler.dense"]},
            "pooler.dense is adapted and is in no",
        ),
        (
            "bert",
            {"lora__layers": None, "lora__target_modules": ["word_embeddings"]},
            "no matrix of a layer is adapted",
        ),
        ("gpt2", {"lora__layers": [1], "lora__target_modules": ["c_attn"]}, "embeds tokens in wte, wpe, expected one"),
        ("albert", {"lora__layers": None, "lora__target_modules": ["query"]}, "has 0 lists of 4 layers"),
    ],
)
def test_what_would_not_be_exact_is_refused_in_a_line(table, folders, name, changes, words, tmp_path):
    if name not in ARCHITECTURES:
        other = {
            "gpt2": transformers.GPT2Config(vocab_size=17, n_embd=16, n_layer=2, n_head=2, n_positions=40),
            "albert": transformers.AlbertConfig(**SMALL, embedding_size=8, max_position_embeddings=40),
        }[name]
        transformers.AutoModel.from_config(other).save_pretrained(tmp_path)
        transformers.AutoTokenizer.from_pretrained(folders / "bert").save_pretrained(tmp_path)
        changes = {"model__name": str(tmp_path)} | changes
    name = name if name in ARCHITECTURES else "bert"
    setup = prepare(hard(table, folders, name, **changes))
    with pytest.raises(Refused, match=words):
        Prefix(setup.model, [setup.train], 16, 2**30)


def refused(setup):
    with pytest.raises(Refused) as line:
        Prefix(setup.model, [setup.train], 16, 2**30)
    return str(line.value)


def test_a_lower_part_that_is_not_fixed_is_refused(table, folders):
    setup = prepare(hard(table, folders, "bert"))
    layer = setup.model.get_base_model().bert.encoder.layer[0]
    weight = layer.output.dense.weight.requires_grad_(True)
    assert "encoder.layer.0.output.dense.weight is trained" in refused(setup)
    weight.requires_grad_(False)
    layer.output.dropout.p = 0.1
    assert "encoder.layer.0.output.dropout drops at rate 0.1" in refused(setup)
    layer.output.dropout.p = 0.0
    layer.output.LayerNorm = torch.nn.BatchNorm1d(16).requires_grad_(False)
    assert "normalises over the batch" in refused(setup)


def test_a_model_whose_upper_part_sees_more_is_refused(table, folders):
    """A layer above that adds the embeddings again: found by running it, whatever its class."""
    setup = prepare(hard(table, folders, "bert"))
    bert, seen = setup.model.get_base_model().bert, []
    bert.embeddings.register_forward_hook(lambda module, args, output: seen.append(output))
    bert.encoder.layer[3].register_forward_hook(lambda module, args, output: output + seen[-1])
    assert "what is above layer 2 of BertForSequenceClassification depends on more" in refused(setup)


def test_memory_then_disk_then_refused_and_nothing_is_left(table, folders, tmp_path):
    config = hard(table, folders, "bert")
    setup = kept(config)
    size = setup.prefix.bytes
    tokens = sum(len(row) for source in (setup.train, setup.held_out) for row in source.fields["input_ids"])
    assert (setup.prefix.place, size) == ("cpu memory", tokens * 16 * 8)

    limits = {"disk": size - 1, "also disk": -(-size // prefix_module.DISK_FACTOR)}
    for bound in limits.values():
        on_disk = kept(hard(table, folders, "bert", runtime__prefix_cache_bytes=bound), tmp_path / "run")
        assert on_disk.prefix.place == "disk"
        assert torch.equal(on_disk.prefix.states, setup.prefix.states)
        assert list((tmp_path / "run").iterdir()) == []
        (_, loss), (_, expected) = (play(one, one.prefix, rounds=1) for one in (on_disk, kept(config)))
        assert loss == expected
        del on_disk
        gc.collect()

    small = hard(table, folders, "bert", runtime__prefix_cache_bytes=size // prefix_module.DISK_FACTOR - 1)
    nothing = kept(small, tmp_path / "none")
    assert nothing.prefix is None
    assert f"{size:,} bytes of hidden states, at most" in nothing.prefix_record["refused"]
    assert not (tmp_path / "none").exists()


def test_a_disk_without_room_is_refused(table, folders, tmp_path, monkeypatch):
    usage = prefix_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(prefix_module.shutil, "disk_usage", lambda folder: usage._replace(free=100))
    size = kept(hard(table, folders, "bert")).prefix.bytes
    setup = kept(hard(table, folders, "bert", runtime__prefix_cache_bytes=size - 1), tmp_path / "run")
    assert "there is no such room on the disk" in setup.prefix_record["refused"]
    assert list((tmp_path / "run").iterdir()) == []


def test_states_that_differ_from_those_computed_again_are_an_error(table, folders, monkeypatch):
    fill = Prefix._fill

    def shifted(self, source, batch_size):
        fill(self, source, batch_size)
        self.states.copy_(self.states.roll(1, 0))

    monkeypatch.setattr(Prefix, "_fill", shifted)
    with pytest.raises(InputError, match="hidden states computed twice differ by"):
        kept(hard(table, folders, "bert"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_difference_is_recorded_and_is_rounding(table, folders, dtype):
    setup = kept(hard(table, folders, "roberta", runtime__dtype=dtype))
    allowed = prefix_module.ROUNDINGS * 2 * torch.finfo(getattr(torch, dtype)).eps
    assert 0 <= setup.prefix_record["largest_difference"] <= allowed


def test_equal_texts_are_kept_once(table, folders):
    setup = prepare(hard(table, folders, "bert"))
    twin = replace(setup.train, fields=dict(setup.train.fields), labels=1 - setup.train.labels)
    prefix = Prefix(setup.model, [setup.train, twin, setup.held_out], 16, 2**30)
    assert prefix.examples == len(setup.train) + len(setup.held_out)
    assert torch.equal(prefix._gather([(twin, 5)], 9), prefix._gather([(setup.train, 5)], 9))


def test_a_pass_that_nobody_announced_fails_and_the_model_is_given_back(table, folders):
    setup = kept(hard(table, folders, "bert"))
    inputs, _ = setup.train.batch(np.arange(4), setup.device)
    before = setup.model(**inputs).logits
    texts = [(setup.train, index) for index in range(4)]
    with setup.prefix.installed():
        setup.prefix.next_batch(texts, inputs["input_ids"].shape[1])
        setup.model(**inputs)
        with pytest.raises(RuntimeError, match="each pass needs its own batch"):
            setup.model(**inputs)
        with pytest.raises(ValueError, match="expected at least"):
            setup.prefix.next_batch(texts, 2)
    assert torch.equal(setup.model(**inputs).logits, before)


def test_a_layer_that_has_been_given_another_forward_pass_has_it_again(table, folders):
    """As the batched engine gives compiled ones to all layers."""
    setup = kept(hard(table, folders, "bert"))
    layer = setup.prefix.lower.skipped_layers[0]
    compiled = layer.forward = lambda *args, **kwargs: type(layer).forward(layer, *args, **kwargs)
    with setup.prefix.installed():
        assert layer.forward is not compiled
    assert layer.forward is compiled
    assert "forward" not in vars(setup.prefix.lower.skipped_layers[1])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ["rolora", "fedsa-lora"])
def test_a_run_says_what_it_kept_and_measures_the_same(table, folders, tmp_path, engine, algorithm):
    changes = {"algorithm": algorithm, "runtime__engine": engine, "federation__partition": "iid"}
    changes |= {"federation__dirichlet_alpha": None}
    record = loop.run(hard(table, folders, "bert", **changes), tmp_path / "with")
    changes["runtime__prefix_cache"] = False
    plain = loop.run(hard(table, folders, "bert", **changes), tmp_path / "without")
    assert record["prefix_cache"]["layers_below"] == 2
    assert "prefix_cache" not in plain
    assert record["initial_evaluation"] == plain["initial_evaluation"]
    assert record["final"]["accuracy"] == plain["final"]["accuracy"]
    assert record["final"]["loss"] == pytest.approx(plain["final"]["loss"], rel=TOLERANCE)


def test_a_run_that_can_keep_nothing_says_why_and_has_the_bits_of_one_that_does_not_ask(table, folders, tmp_path):
    asked = hard(table, folders, "bert", lora__layers=None, federation__rounds=2)
    record = loop.run(asked, tmp_path / "asked")
    plain = hard(table, folders, "bert", lora__layers=None, federation__rounds=2, runtime__prefix_cache=False)
    expected = loop.run(plain, tmp_path / "plain")
    assert record["prefix_cache"] == {"refused": "layer 0 is adapted: there is no layer below"}
    assert record["final"] == expected["final"]
    one, other = (tmp_path / name / "adapter" / "adapter_model.safetensors" for name in ("asked", "plain"))
    assert one.read_bytes() == other.read_bytes()


def test_a_config_that_does_not_ask_keeps_its_hash(table):
    plain = changed(table)
    assert "prefix_cache" not in plain.resolved()["runtime"]
    assert changed(table, runtime__prefix_cache=False).hash() == plain.hash()
    assert changed(table, runtime__prefix_cache=True).hash() != plain.hash()


def test_what_is_kept_satisfies_the_loops_protocol(table, folders):
    setup = kept(hard(table, folders, "bert"))
    assert isinstance(setup.prefix, local_update.HiddenStates)
    assert isinstance(setup.prefix.lower, LowerLayers)
