"""The laws on effective weights, seen through PEFT's own forward pass.

Tiny transformers with random weights: BERT (square and non-square linear layers), Llama with grouped keys (non-square),
GPT-2 (Conv1D, whose weights PEFT holds transposed). lora_alpha / r is 4, or rank-stabilised. The reference never touches
PEFT: the dense update, scaled, is added to the backbone's own weights. Everything is in float64. Laws 1, 2 and 6 are held through PEFT
for every method by ``tests/conformance``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS
from rolora.config import LoraConfig
from rolora.federation import ClientUpdate, ServerState, aggregate, pack
from rolora.federation.communication import Message
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.models.seeding import named_stream

WEIGHTS = [1.0, 2.0, 7.0]
KEY = Key(7)
ROUNDING = 1e-12  # logits of order 1 after two layers in float64; a wrong scale or a transposed factor misses by > 1e-3


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    return BertForSequenceClassification(config)


def llama():
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=24, pad_token_id=0, num_labels=2,
    )  # fmt: skip
    return LlamaForSequenceClassification(config)


def gpt2():
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(
        vocab_size=30, n_embd=16, n_layer=2, n_head=2, n_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    return GPT2ForSequenceClassification(config)


MODELS = {
    "bert": (bert, ("query", "value", "intermediate.dense")),
    "llama": (llama, ("q_proj", "k_proj", "gate_proj", "down_proj")),
    "gpt2": (gpt2, ("c_attn", "c_fc")),
}


@dataclass(frozen=True)
class Subject:
    """A PEFT model in float64 beside an untouched backbone with the same weights."""

    wrapped: torch.nn.Module
    backbone: torch.nn.Module
    inputs: torch.Tensor

    def server(self) -> ServerState:
        return peft_boundary.read(self.wrapped, head=True)

    def through_peft(self, state: ServerState) -> np.ndarray:
        peft_boundary.write(self.wrapped, state)
        with torch.no_grad():
            return self.wrapped.eval()(self.inputs).logits.numpy().copy()

    @torch.no_grad()
    def through_weights(self, updates: dict[str, torch.Tensor], head: dict[str, torch.Tensor]) -> np.ndarray:
        """The backbone's logits with scale * update added to its own weight matrices."""
        weights = {name: value.clone() for name, value in self.backbone.state_dict().items()}
        for name, update in updates.items():
            module = self.backbone.get_submodule(name)
            update = peft_boundary.scales(self.wrapped)[name] * update
            weights[f"{name}.weight"] += update if type(module).__name__ == "Conv1D" else update.T
        weights |= head
        return torch.func.functional_call(self.backbone.eval(), weights, (self.inputs,)).logits.numpy().copy()


@pytest.fixture(scope="module", params=[*MODELS, "bert, rank-stabilised"])
def subject(request):
    name, _, stabilised = request.param.partition(", ")
    build, targets = MODELS[name]
    pair = []
    for _ in range(2):
        with named_stream(Key(0).fold("laws", name), torch.device("cpu")):
            pair.append(build().double())
    lora = LoraConfig(rank=3, alpha=12, dropout=0.0, target_modules=targets, rank_stabilized=bool(stabilised))
    wrapped = peft_boundary.attach(pair[0], lora, Key(0), "tiny").double()
    assert set(peft_boundary.scales(wrapped).values()) == {12 / np.sqrt(3) if stabilised else 4.0}
    draw = Key(0).fold("tokens").generator().integers(3, 30, size=(4, 9))
    subject = Subject(wrapped, pair[1], torch.from_numpy(draw))
    shapes = {(layer.A.shape[0], layer.B.shape[1]) for layer in subject.server().layers.values()}
    assert any(d != k for d, k in shapes), "a square model would hide a transposition"
    return subject


# Methods with one common model that its clients send: the others have nothing to compare.
COMMON = [name for name, method in ALGORITHMS.items() if not (method.pooled or method.personal)]


@pytest.fixture(params=COMMON)
def algorithm(request):
    return ALGORITHMS[request.param]()


@pytest.fixture(params=[0, 1], ids=["even", "odd"])
def t(request):
    return request.param


def noise(like, *name):
    return torch.from_numpy(Key(3).fold(*name).generator().standard_normal(tuple(like.shape)))


def started(subject):
    """The server's state with a B that is not zero, as in the middle of training."""
    server = subject.server()
    layers = {
        name: Layer(noise(layer.A, name, "A") / 4, noise(layer.B, name, "B") / 4)
        for name, layer in server.layers.items()
    }
    return replace(server, layers=layers)


def client_update(server, trainable, client, t):
    message = pack(server, trainable | {"head"})
    factors = {
        factor: {name: noise(array, factor, name, client) / 4 for name, array in layers.items()}
        for factor, layers in message.factors.items()
    }
    head = {name: noise(array, name, client) for name, array in message.head.items()}
    return ClientUpdate(client, t, WEIGHTS[client], Message(factors, head))


def of_client(server, update):
    """The state that a client holds after its local update."""
    layers = {
        name: replace(layer, **{factor: arrays[name] for factor, arrays in update.message.factors.items()})
        for name, layer in server.layers.items()
    }
    return ServerState(layers, update.message.head)


def mean(values, weights=WEIGHTS):
    return sum(p / sum(weights) * value for p, value in zip(weights, values, strict=True))


@pytest.fixture
def round_of_three(subject, algorithm, t):
    server = started(subject)
    updates = [client_update(server, algorithm.trainable(t), client, t) for client in range(3)]
    return server, updates, [of_client(server, update) for update in updates]


def test_laws_3_and_4_exactness_on_effective_weights(subject, algorithm, t, round_of_three):
    server, updates, clients = round_of_three
    logits = subject.through_peft(aggregate(t, server, algorithm, updates, key=KEY))
    ideal = {name: mean([client.layers[name].update for client in clients]) for name in server.layers}
    head = {name: mean([client.head[name] for client in clients]) for name in server.head}
    exact = subject.through_weights(ideal, head)
    if algorithm.exactness == "tail":
        for name, dense in ideal.items():
            left, singular, right = torch.linalg.svd(dense, full_matrices=False)
            ideal[name] = left[:, :3] * singular[:3] @ right[:3]
        assert np.abs(logits - exact).max() > 1e-3
        np.testing.assert_allclose(logits, subject.through_weights(ideal, head), rtol=0, atol=ROUNDING)
        return
    if 3 in algorithm.exceptions:
        assert np.abs(logits - exact).max() > 1e-3
        return
    if algorithm.exactness == "exact":
        np.testing.assert_allclose(logits, exact, rtol=0, atol=ROUNDING)
        return
    assert np.abs(logits - exact).max() > 1e-3
    for name in ideal:
        mean_a = mean([client.layers[name].A for client in clients])
        mean_b = mean([client.layers[name].B for client in clients])
        deviations = [(client.layers[name].A - mean_a) @ (client.layers[name].B - mean_b) for client in clients]
        ideal[name] = ideal[name] - mean(deviations)
    np.testing.assert_allclose(logits, subject.through_weights(ideal, head), rtol=0, atol=ROUNDING)


def test_law_5_a_frozen_factor_crosses_peft_with_its_bits(subject, algorithm, t, round_of_three):
    server, updates, _ = round_of_three
    peft_boundary.write(subject.wrapped, aggregate(t, server, algorithm, updates, key=KEY))
    held = subject.server()
    for name, layer in server.layers.items():
        frozen = set() if algorithm.restarts else set(FACTORS) - algorithm.changed(t)
        for factor in frozen:
            assert torch.equal(getattr(held.layers[name], factor), getattr(layer, factor))


def test_law_7_a_message_has_the_bytes_of_pefts_own_parameters(subject, algorithm, t, round_of_three):
    _, updates, _ = round_of_three
    counted = updates[0].message.bytes_by_part()
    parameters = peft_boundary.factor_parameters(subject.wrapped).values()
    for factor in FACTORS:
        own = sum(layer[factor].numel() * layer[factor].element_size() for layer in parameters)
        assert counted[factor] == (own if factor in algorithm.trainable(t) else 0)
    head = peft_boundary.head_parameters(subject.wrapped).values()
    assert counted["head"] == sum(parameter.numel() * parameter.element_size() for parameter in head)
