"""Gradient checkpointing: the same numbers, layers that are computed again, and the memory that is planned for it."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, BertConfig, LlamaConfig

from rolora.config import LoraConfig
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.experiment import setup as preparation
from rolora.federation import start_of
from rolora.keys import Key
from rolora.models import architectures, costs, peft_boundary
from rolora.models.seeding import named_stream
from rolora.planning import plan
from rolora.training import gradient_checkpointing
from tests.conftest import changed, relative_error
from tests.training.rounds import engine_of

CPU = torch.device("cpu")
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 17}
NO_DROPOUT = {"model__dropout": 0.0, "lora__dropout": 0.0}
ON = {"runtime__gradient_checkpointing": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_model):
    """A BERT and a Llama of three layers: a config, a tokenizer, and no weights."""
    found = {}
    for name, kind in (("bert", BertConfig), ("llama", LlamaConfig)):
        found[name] = tmp_path_factory.mktemp(name)
        kind(**SMALL, num_hidden_layers=3, max_position_embeddings=32).save_pretrained(found[name])
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(found[name])
    return found


def experiment_table(table, folder):
    table = table | {"model": table["model"] | {"name": str(folder), "weights": "random"}}
    return table | {"lora": {"rank": 2, "alpha": 8, "dropout": 0.0, "layers": [1, 2]}}


def trained(config):
    """The clients' first local updates, and how often each layer's attention was called in a step."""
    setup = loop.prepare(config)
    state = peft_boundary.read(setup.model, head=True)
    algorithm = config.build_algorithm()
    engine = engine_of(setup)
    calls = {}
    for name, module in setup.model.named_modules():
        if name.rpartition(".")[2] in ("attention", "self_attn"):
            layer = int(name.split("layer")[-1].split(".")[1])
            module.register_forward_hook(lambda *_, layer=layer: calls.update({layer: calls.get(layer, 0) + 1}))
    starts = {client: start_of(0, state, algorithm, client) for client in range(len(setup.clients))}
    updates = engine.local_updates(0, starts, frozenset("AB"))
    passes = config.training.local_steps * (len(starts) if config.runtime.engine == "sequential" else 1)
    return updates, {layer: count / passes for layer, count in sorted(calls.items())}


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("engine", ["sequential", "batched"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_updates_are_the_same_and_adapted_layers_are_computed_twice(table, folders, name, engine, prefix):
    fixed = {
        "algorithm": "fedavg-lora",
        "runtime__engine": engine,
        "runtime__dtype": "float64",
        "runtime__group_size": 3,
    }
    table = experiment_table(table, folders[name])
    (plain, once), (again, twice) = (trained(changed(table, **fixed, **NO_DROPOUT, **on)) for on in ({}, ON))
    assert once == {0: 1, 1: 1, 2: 1}
    assert twice == {0: 1, 1: 2, 2: 2}  # nothing below the lowest adapted layer is computed again
    for one, other in zip(plain, again, strict=True):
        assert relative_error(other.loss, one.loss) < 1e-12
        for (part, label, expected), (_, _, found) in zip(one.message.arrays(), other.message.arrays(), strict=True):
            # The same operations on the same numbers in the same order: three steps of float64 are far within this.
            assert relative_error(found, expected) < 1e-12, (part, label)
    if prefix:
        kept, whole = (
            run_with_prefix(changed(table, **fixed, **NO_DROPOUT, **ON, runtime__prefix_cache=on))
            for on in (True, False)
        )
        assert kept[1] is not None and "refused" not in kept[1] and whole[1] is None
        for one, other in zip(kept[0], whole[0], strict=True):
            assert relative_error(other.loss, one.loss) < 1e-12


@pytest.mark.parametrize("engine", ["sequential", "batched"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_updates_have_the_same_bits_in_bfloat16(table, folders, name, engine):
    """What is computed again is computed as it was the first time: attention in float32 as well."""
    fixed = {"algorithm": "fedavg-lora", "runtime__engine": engine, "runtime__dtype": "bfloat16"}
    table = experiment_table(table, folders[name])
    plain, again = (trained(changed(table, **fixed, **NO_DROPOUT, **on))[0] for on in ({}, ON))
    for one, other in zip(plain, again, strict=True):
        for (part, label, expected), (_, _, found) in zip(one.message.arrays(), other.message.arrays(), strict=True):
            assert torch.equal(found, expected), (part, label)


def run_with_prefix(config):
    setup = loop.prepare(config)
    preparation.keep_hidden_states(setup, None)
    state, algorithm = peft_boundary.read(setup.model, head=True), config.build_algorithm()
    engine = engine_of(setup, prefix=setup.prefix)
    starts = {client: start_of(0, state, algorithm, client) for client in range(len(setup.clients))}
    return engine.local_updates(0, starts, frozenset("AB")), setup.prefix_record


def test_hidden_states_are_not_kept_where_hooks_run_again(table, folders, monkeypatch):
    monkeypatch.setattr(gradient_checkpointing, "HOOKS_RUN_AGAIN", True)
    table = experiment_table(table, folders["bert"])
    setup = loop.prepare(changed(table, **NO_DROPOUT, **ON, runtime__prefix_cache=True))
    preparation.keep_hidden_states(setup, None)
    assert setup.prefix is None
    assert "hooks again" in setup.prefix_record["refused"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"lora__dropout": 0.1, "model__dropout": 0.0},
            "lora.dropout: got 0.1, expected 0.0 with runtime.gradient_check",
        ),
        (
            {"lora__dropout": 0.0, "model__dropout": 0.2},
            "model.dropout: got 0.2, expected 0.0 with runtime.gradient_check",
        ),
        (NO_DROPOUT | {"runtime__compile": True, "runtime__engine": "batched"}, "runtime.compile: got true"),
    ],
)
def test_what_cannot_be_computed_again_is_refused_by_the_config(table, changes, words):
    with pytest.raises(InputError, match=words):
        changed(table, **ON, **changes)


def test_dropout_of_the_models_own_is_refused_by_run_and_plan(table, tmp_path):
    config = changed(table, **ON, lora__dropout=0.0)
    for refused in (lambda: loop.run(config, tmp_path / "run"), lambda: plan.plan(config, flops_per_second=1e9)):
        with pytest.raises(InputError, match=r"expected model\.dropout = 0\.0") as fault:
            refused()
        assert "\n" not in str(fault.value)
    assert not (tmp_path / "run").exists()


def test_old_hashes_stay_valid(table):
    assert changed(table, runtime__gradient_checkpointing=False).hash() == changed(table).hash()


class Peak(TorchDispatchMode):
    """The most bytes that are held at a time of what is made within it, views of a model's own tensors aside."""

    def __init__(self, model):
        super().__init__()
        self.held = self.most = 0
        self.own = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
        self.seen = weakref.WeakSet(self.own)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self.seen:
                storage = tensor.untyped_storage()
                self.seen.add(storage)
                self.held += storage.nbytes()
                weakref.finalize(storage, self.release, storage.nbytes())
        self.most = max(self.most, self.held)
        return result

    def release(self, size):
        self.held -= size


ROWS, LENGTH = 4, 48


def checkpointed(kind, depth, layers, on, device):
    """A small adapted model without dropout; its layers are checkpointed where ``on``."""
    sizes = SMALL | {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_hidden_layers": depth}
    settings = kind(**sizes, max_position_embeddings=64, pad_token_id=0, attn_implementation="eager")
    architectures.set_dropout(settings, 0.0)
    model = architectures.from_settings(settings, torch.float32, device, Key(0))
    model = peft_boundary.attach(model, LoraConfig(rank=4, alpha=8, dropout=0.0, layers=layers), Key(0), "small")
    if on:
        gradient_checkpointing.enable(model)
    peft_boundary.set_trainable(model.train(), frozenset("AB"), head=True)
    return model


def step(model):
    ids = torch.arange(1, 1 + ROWS * LENGTH).reshape(ROWS, LENGTH) % 15 + 1
    with named_stream(Key(0), CPU):
        model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum().backward()


def measured_and_planned(kind, depth, on):
    """Bytes at the peak of a step, and bytes planned."""
    model = checkpointed(kind, depth, None, on, CPU)
    with Peak(model) as peak:
        step(model)
    shapes, adapters = costs.shapes_of(model), costs.adapted_modules(peft_boundary.read(model, head=True))
    return peak.most, costs.activation_bytes(shapes, ROWS, LENGTH, torch.float32, adapters, on="cpu", recomputed=on)


@pytest.mark.parametrize("kind", [BertConfig, LlamaConfig])
def test_a_layer_more_costs_its_input_and_without_recomputation_all_that_it_keeps(kind):
    """Of 4 and 12 layers, what passes is the same: the difference of the peaks is eight layers' share."""
    for on in (True, False):
        (few, few_planned), (many, many_planned) = (measured_and_planned(kind, n, on) for n in (4, 12))
        share = (many_planned - few_planned) / 8
        if on:
            assert many - few == 8 * share == 8 * 4 * ROWS * LENGTH * 64
        # Estimates without it are on the high side, by a quarter at most; what passes comes on top of both.
        assert 8 * share * 0.75 <= many - few <= 8 * share
        assert many * 0.75 <= many_planned <= many * 1.25
    with_, without = (measured_and_planned(kind, 12, on)[0] for on in (True, False))
    assert with_ < without / 2


@pytest.mark.parametrize("kind", [BertConfig, LlamaConfig])
@pytest.mark.parametrize("layers", [None, [2, 3]])
def test_the_operations_of_the_second_pass_are_planned(kind, layers):
    """Counted without numbers they are those of a real step: the layers from the lowest adapted one up run a second time."""
    counts = {}
    for on in (False, True):
        model = checkpointed(kind, 4, layers, on, CPU)
        with FlopCounterMode(display=False) as counter:
            step(model)
        counts[on] = counter.get_total_flops()
        on_meta = checkpointed(kind, 4, layers, on, architectures.META)
        assert costs.counted_flops(on_meta, ROWS, LENGTH, backward=True) == counts[on]
    assert counts[True] > counts[False]


def test_a_plan_says_how_it_counts(table):
    on, off = (plan.plan(changed(table, **NO_DROPOUT, **changes), flops_per_second=1e9) for changes in (ON, {}))
    assert on.memory["activations"] < off.memory["activations"]
    assert on.flops["training"] > off.flops["training"]
    (note,) = (note for note in on.notes if note not in off.notes)
    assert note.startswith("memory: activations are each adapted layer's input")
