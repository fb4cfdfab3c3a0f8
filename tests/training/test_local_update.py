"""A client's local update against a hand-written one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.training import local_update
from rolora.training.examples import Examples
from tests.conftest import changed


def test_batches_are_shuffled_epochs_with_their_incomplete_last_one():
    drawn = list(local_update.batches(Key(0), np.arange(10, 15), 2, 7))
    assert [len(batch) for batch in drawn] == [2, 2, 1, 2, 2, 1, 2]
    assert sorted(np.concatenate(drawn[:3])) == sorted(np.concatenate(drawn[3:6])) == list(range(10, 15))
    assert not np.array_equal(np.concatenate(drawn[:3]), np.concatenate(drawn[3:6]))


def test_padding_is_at_the_end_and_as_short_as_it_can_be():
    examples = Examples(
        fields={"input_ids": [[1, 2, 3], [4], [5, 6]], "attention_mask": [[1, 1, 1], [1], [1, 1]]},
        labels=np.array([0, 1, 0]),
        pad={"input_ids": 9, "attention_mask": 0},
    )
    inputs, labels = examples.batch(np.array([2, 1]), torch.device("cpu"))
    assert inputs["input_ids"].tolist() == [[5, 6], [4, 9]]
    assert inputs["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert labels.tolist() == [0, 1]


def test_sgd_steps_are_those_written_by_hand(table):
    config = changed(
        table, training__optimizer="sgd", training__learning_rate=0.5, training__max_grad_norm=0.001,
        training__local_steps=2, lora__dropout=0.0, model__dropout=0.0,
    )  # fmt: skip
    setup = loop.prepare(config)
    state = peft_boundary.read(setup.model, head=True)
    parts = peft_boundary.set_trainable(setup.model, frozenset({"B"}), head=True)
    parameters = [parameter for chosen in parts.values() for parameter in chosen]
    key = Key(5)
    arguments = (setup.train, setup.clients[0], config.training, key, torch.device("cpu"))
    loss = local_update.train(setup.model, parts, *arguments)
    trained = [parameter.detach().clone() for parameter in parameters]

    peft_boundary.write(setup.model, state)
    losses = []
    for chosen in local_update.batches(key.fold("batches"), setup.clients[0], 4, 2):
        inputs, labels = setup.train.batch(chosen, torch.device("cpu"))
        logits = setup.model(**inputs).logits
        mean = (torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]).mean()
        gradients = torch.autograd.grad(mean, parameters)
        norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
        assert norm > 0.001  # so the clip is seen
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.5 * gradient * 0.001 / (norm + 1e-6)  # as clip_grad_norm_ defines it
        losses.append(float(mean.detach()))
    assert loss == pytest.approx(np.mean(losses), rel=1e-6)
    for one, other in zip(trained, parameters, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-7)


def test_the_optimiser_has_no_memory_of_another_client(table):
    """AdamW's moments would move a parameter whose gradient is zero; a fresh optimiser does not."""
    parameter = torch.nn.Parameter(torch.ones(3))
    training = changed(table).training
    first = local_update.optimizer(training, {"B": [parameter]})
    parameter.grad = torch.ones(3)
    first.step()
    moved = parameter.detach().clone()
    parameter.grad = torch.zeros(3)
    local_update.optimizer(training, {"B": [parameter]}).step()
    assert torch.equal(parameter.detach(), moved)


def test_only_what_the_round_trains_has_gradients(table):
    setup = loop.prepare(changed(table))
    for factors, head in ((frozenset("A"), False), (frozenset("B"), True), (frozenset("AB"), True)):
        chosen = peft_boundary.set_trainable(setup.model, factors, head=head)
        wanting = {name for name, parameter in setup.model.named_parameters() if parameter.requires_grad}
        assert set(chosen) == factors | ({"head"} if head else set())
        assert len(wanting) == sum(map(len, chosen.values())) == 4 * len(factors) + 2 * head
        assert all(("lora_A" in name and "A" in factors) or ("lora_B" in name and "B" in factors) or
                   ("classifier" in name and head) for name in wanting)  # fmt: skip


def trained(table, factors, schedule="", **changes):
    """How far each part moves in one local update from a state where neither factor is zero."""
    config = changed(table, training__optimizer="sgd", lora__dropout=0.0, model__dropout=0.0, **changes)
    setup = loop.prepare(config)
    state = peft_boundary.read(setup.model, head=True)
    layers = {name: replace(layer, B=torch.ones_like(layer.B)) for name, layer in state.layers.items()}
    peft_boundary.write(setup.model, replace(state, layers=layers))
    parts = peft_boundary.set_trainable(setup.model, frozenset(factors), head=True)
    before = {part: [parameter.detach().clone() for parameter in chosen] for part, chosen in parts.items()}
    local_update.train(
        setup.model, parts, setup.train, setup.clients[0], config.training, Key(5), torch.device("cpu"), schedule
    )
    return {
        part: [after.detach() - start for after, start in zip(chosen, before[part], strict=True)]
        for part, chosen in parts.items()
    }


def test_a_has_its_own_learning_rate(table):
    both = trained(table, "AB", training__local_steps=1, training__learning_rate=0.1)
    slow = trained(table, "AB", training__local_steps=1, training__learning_rate=0.1, training__learning_rate_a=0.01)
    for one, other in zip(both["A"], slow["A"], strict=True):
        torch.testing.assert_close(other, one / 10, rtol=1e-3, atol=1e-8)
    for part in ("B", "head"):
        assert all(torch.equal(one, other) for one, other in zip(both[part], slow[part], strict=True))


def test_turns_within_a_local_update_train_one_factor_at_a_time(table):
    settings = {"training__learning_rate": 0.1}
    first = trained(table, "AB", "BA", training__local_steps=1, **settings)
    assert all(not torch.any(moved) for moved in first["A"])
    assert all(torch.any(moved) for moved in first["B"])
    second = trained(table, "AB", "BA", training__local_steps=2, **settings)
    assert all(torch.equal(one, other) for one, other in zip(first["B"], second["B"], strict=True))
    assert all(torch.any(moved) for moved in second["A"])
    assert any(not torch.equal(one, other) for one, other in zip(first["head"], second["head"], strict=True))


def test_the_proximal_term_pulls_back_to_the_broadcast(table):
    """One step does not see it; the second step's gradient is changed by mu (w - w_0), and nothing else."""
    settings = {"training__learning_rate": 0.1}
    once = trained(table, "B", training__local_steps=1, **settings)
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            once["B"],
            trained(table, "B", training__local_steps=1, training__proximal=3.0, **settings)["B"],
            strict=True,
        )
    )
    free = trained(table, "B", training__local_steps=2, **settings)
    held = trained(table, "B", training__local_steps=2, training__proximal=3.0, **settings)
    for part in ("B", "head"):
        for start, one, other in zip(once[part], free[part], held[part], strict=True):
            torch.testing.assert_close(other, one - 0.1 * 3.0 * start, rtol=1e-4, atol=1e-6)  # of parameters of order 1
