"""Batched is sequential: every method, with everything that could tell them apart.

Dropout, clients of different size, an incomplete last batch, partial participation, unequal weights, clipping, weight decay.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from rolora.algorithms import ALGORITHMS
from rolora.config import TrainingConfig
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.models.seeding import named_stream
from rolora.training.engines.stacked_optimizers import StackedOptimizer
from tests.conftest import changed
from tests.experiment.test_experiment import architectures
from tests.training.rounds import engine_of, furthest, play

HARD = {
    "federation__num_clients": 5,
    "federation__clients_per_round": 4,
    "federation__partition": "dirichlet",
    "federation__dirichlet_alpha": 0.5,
    "training__local_steps": 4,
    "training__batch_size": 7,
    "training__max_grad_norm": 0.5,
    "training__weight_decay": 0.1,
    "runtime__dtype": "float64",
    "runtime__group_size": 3,
}


def final(config, rounds):
    """The state after some rounds by the config's engine, and the mean training losses."""
    setup = loop.prepare(config)
    server, reports = play(setup, engine_of(setup), rounds)
    return server, [report.loss for report in reports]


def hard(table, name, **changes):
    one_client = {"federation__clients_per_round": 1} if ALGORITHMS[name]().pooled else {}
    return changed(table, algorithm=name, **HARD | one_client | changes)


def both(table, name, rounds, **changes):
    """Largest difference of the final states and of the losses, batched against sequential."""
    (expected, losses), (found, others) = (
        final(hard(table, name, **changes, runtime__engine=engine), rounds) for engine in ("sequential", "batched")
    )
    return furthest(found, expected), float(np.max(np.abs(np.array(others) / np.array(losses) - 1)))


@pytest.mark.parametrize(("name", "rounds"), [*((name, 4) for name in ALGORITHMS), ("rolora", 20)])
def test_an_encoder_in_float64(table, name, rounds):
    """20 rounds amplify rounding (2e-16) at most by some thousands, as AdamW divides by small second moments."""
    states, losses = both(table, name, rounds=rounds, training__local_steps=2)
    assert states < 1e-9
    assert losses < 1e-11


@pytest.mark.parametrize("name", ["fedavg-lora", "rolora", "fedsa-lora", "fedex-lora", "la-lora"])
def test_a_decoder_in_float64(table, tiny_decoder, name):
    """Both factors, one at a time, a personal one, a residual, and steps in turn; the encoder has every method."""
    targets = {"model__name": str(tiny_decoder), "lora__target_modules": ["q_proj", "v_proj", "down_proj"]}
    states, losses = both(table, name, rounds=3, **targets, training__local_steps=2)
    assert states < 1e-9
    assert losses < 1e-11


@pytest.fixture(scope="module")
def tiny_decoder(tiny_model, tmp_path_factory):
    """A two-layer Llama with grouped keys and random weights; its padding is its end of text."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    with named_stream(Key(0), torch.device("cpu")):
        transformers.AutoModel.from_config(architectures()["llama"][0]).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("architecture", ["roberta", "deberta-v2", "gpt2"])
def test_other_architectures_in_float64(table, tiny_model, tmp_path, architecture):
    """A head of two linear layers, a pooler outside the backbone, disentangled attention, a Conv1D."""
    config, targets = architectures()[architecture]
    with named_stream(Key(0), torch.device("cpu")):
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    changes = {"model__name": str(tmp_path), "lora__target_modules": targets}
    states, losses = both(table, "rolora", rounds=3, **changes)
    assert states < 1e-9
    assert losses < 1e-11


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "hetlora", "federation__client_ranks": [1, 2, 2]},
        {"algorithm": "flexlora", "federation__client_ranks": [2, 1]},
        {"training__optimizer": "sgd", "training__momentum": 0.9},
        {"training__proximal": 0.1, "training__learning_rate_a": 0.001},
        {"model__head": "frozen"},
        {"runtime__group_size": 1},
        {"lora__rank_stabilized": True, "federation__client_weights": "uniform"},
        {"server": {"optimizer": "adam", "learning_rate": 0.1}, "algorithm": "fedavg-lora"},
    ],
)
def test_variants_in_float64(table, changes):
    changes = dict(changes)
    states, losses = both(table, changes.pop("algorithm", "rolora"), rounds=4, **changes)
    assert states < 1e-9
    assert losses < 1e-11


def test_float32_stays_within_its_rounding_after_20_rounds(table):
    """SGD, which does not divide by small numbers: some thousands of roundings (6e-8) of the largest entry."""
    changes = {"runtime__dtype": "float32", "training__optimizer": "sgd", "training__learning_rate": 0.05}
    for name in ("fedavg-lora", "rolora"):
        states, losses = both(table, name, rounds=20, training__local_steps=1, **changes)
        assert states < 1e-4
        assert losses < 1e-5


def test_bfloat16_stays_within_its_rounding_after_20_rounds(table):
    """A rounding is .004 here: the states stay close beside how far they have gone, the losses within some roundings."""
    changes = {"runtime__dtype": "bfloat16", "training__optimizer": "sgd", "training__learning_rate": 0.05}
    for name in ("fedavg-lora", "rolora"):
        states, losses = both(table, name, rounds=20, training__local_steps=1, **changes)
        assert states < 0.1
        assert losses < 0.02


def test_the_comparison_can_fail(table):
    """The same engine with another dropout stream, and with another grouping: the first is noticed, the second is rounding."""
    engine = {"runtime__engine": "batched"}
    expected, _ = final(hard(table, "rolora", **engine), 4)
    dry, _ = final(hard(table, "rolora", **engine, lora__dropout=0.0), 4)
    assert furthest(dry, expected) > 1e-3
    regrouped, _ = final(hard(table, "rolora", **engine, runtime__group_size=2), 4)
    assert 0 <= furthest(regrouped, expected) < 1e-10


def test_the_group_does_not_depend_on_the_order_of_clients(table):
    config = hard(table, "rolora", runtime__engine="batched", runtime__dtype="float32")
    setup = loop.prepare(config)
    engine = engine_of(setup)
    server = peft_boundary.read(setup.model, head=True)
    forwards = engine.local_updates(0, dict.fromkeys([0, 1, 3, 4], server), frozenset({"B"}))
    backwards = engine.local_updates(0, dict.fromkeys([4, 3, 1, 0], server), frozenset({"B"}))
    for one, other in zip(forwards, reversed(backwards), strict=True):
        assert one.client == other.client
        pairs = zip(one.message.arrays(), other.message.arrays(), strict=True)
        assert all(torch.equal(first, second) for (_, _, first), (_, _, second) in pairs)


def test_peft_has_its_own_modules_back_after_training(table):
    config = hard(table, "rolora", runtime__engine="batched")
    setup = loop.prepare(config)
    before = {name: type(module) for name, module in setup.model.named_modules()}
    engine = engine_of(setup)
    server = peft_boundary.read(setup.model, head=True)
    engine.local_updates(0, {0: server, 1: server}, frozenset({"B"}))
    assert {name: type(module) for name, module in setup.model.named_modules()} == before
    unchanged = peft_boundary.read(setup.model, head=True)
    assert furthest(unchanged, server) == 0


@given(
    optimizer=st.sampled_from(["sgd", "adamw"]),
    momentum=st.sampled_from([0.0, 0.9]),
    decay=st.sampled_from([0.0, 0.1]),
    clip=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 2**32),
)
def test_the_stacked_optimiser_is_torchs_for_every_client(optimizer, momentum, decay, clip, seed):
    """Three clients with rates of their own, five steps, one of them without a gradient for the first parameter."""
    draw = Key(seed).generator()
    rates = [0.1, 0.01, 0.3]
    settings = [
        TrainingConfig(
            optimizer=optimizer, learning_rate=rate, local_steps=1, batch_size=1, momentum=momentum, weight_decay=decay
        )
        for rate in rates
    ]
    start = [torch.from_numpy(draw.normal(size=(3, 4, 2))), torch.from_numpy(draw.normal(size=(3, 2)))]
    stacked = [torch.nn.Parameter(tensor.clone()) for tensor in start]
    single = [[torch.nn.Parameter(tensor[client].clone()) for tensor in start] for client in range(3)]
    descent = StackedOptimizer({"A": stacked}, settings)
    torch_optimizers = [
        torch.optim.SGD(single[client], lr=rate, momentum=momentum, weight_decay=decay)
        if optimizer == "sgd"
        else torch.optim.AdamW(single[client], lr=rate, weight_decay=decay)
        for client, rate in enumerate(rates)
    ]
    for step in range(5):
        for index, parameter in enumerate(stacked):
            missing = step == 2 and index == 0
            parameter.grad = None if missing else torch.from_numpy(draw.normal(size=tuple(parameter.shape)))
            for client in range(3):
                single[client][index].grad = None if missing else parameter.grad[client].clone()
        if clip is not None:
            descent.clip(clip)
            for client in range(3):
                torch.nn.utils.clip_grad_norm_(single[client], clip)
        descent.step()
        for one in torch_optimizers:
            one.step()
    for index, parameter in enumerate(stacked):
        for client in range(3):
            torch.testing.assert_close(parameter[client], single[client][index], rtol=1e-12, atol=1e-13)
