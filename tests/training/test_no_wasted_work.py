"""What a step does not compute: nothing backward below the lowest adapted layer, no gradient for a factor that is fixed."""

from __future__ import annotations

import pytest

from rolora.experiment.setup import prepare
from rolora.federation import open_round
from rolora.federation.communication import Ledger
from rolora.models import peft_boundary
from rolora.training import objectives
from rolora.training.engines import ENGINES, batched
from tests.training.rounds import engine_of
from tests.training.test_prefix_cache import folders, hard, kept

__all__ = ["folders"]

LAYERS = 4


def steps(setup, monkeypatch, t):
    """For each step of round t: which tensors its backward pass ends in, as (part, place)."""
    config, seen, plain = setup.config, [], objectives.cross_entropy
    engine = engine_of(setup, prefix=setup.prefix)

    def watched(logits, labels, reduction="mean"):
        loss = plain(logits, labels, reduction)
        names = {id(tensor): name for name, tensor in trainables(engine, setup.model)}
        seen.append(sorted(names.get(id(leaf), ("backbone", tuple(leaf.shape))) for leaf in leaves(loss)))
        return loss

    monkeypatch.setattr(objectives, "cross_entropy", watched)
    server, algorithm = peft_boundary.read(setup.model, head=True), config.build_algorithm()
    opened = open_round(t, server, algorithm, [0, 1], Ledger())
    engine.local_updates(t, opened.broadcasts, opened.trainable)
    return seen


def leaves(loss):
    """The tensors that the backward pass of a loss gives gradients to."""
    nodes, met = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in met:
            met.add(node)
            nodes.extend(upstream for upstream, _ in node.next_functions)
    return [node.variable for node in met if type(node).__name__ == "AccumulateGrad"]


def trainables(engine, model):
    """All tensors that some round trains, named by part."""
    if isinstance(engine, batched.BatchedEngine):
        for name, module in engine.trainer.stack.adapted.items():
            yield from ((("A", name), module.A), (("B", name), module.B))
        for name, linear in engine.trainer.stack.head.items():
            yield from ((("head", f"{name}.{part}"), tensor) for part, tensor in linear.named_parameters())
        return
    for name, factors in peft_boundary.factor_parameters(model).items():
        yield from (((factor, name), tensor) for factor, tensor in factors.items())
    yield from ((("head", name), tensor) for name, tensor in peft_boundary.head_parameters(model).items())


def expected(setup, trained):
    parts = [(factor, name) for factor in trained for name in peft_boundary.factor_parameters(setup.model)]
    return sorted([*parts, *(("head", name) for name in peft_boundary.head_parameters(setup.model))])


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("algorithm", "t", "trained"),
    [("rolora", 0, "B"), ("rolora", 1, "A"), ("ffa-lora", 1, "B"), ("fedavg-lora", 1, "AB")],
)
def test_a_backward_pass_ends_in_what_its_round_trains(
    table, folders, monkeypatch, engine, algorithm, t, trained, prefix
):
    """No node leads to a fixed factor or to the backbone, so no product is computed for one; two factors need both."""
    config = hard(table, folders, "bert", algorithm=algorithm, runtime__engine=engine, runtime__prefix_cache=prefix)
    setup = kept(config)
    found = steps(setup, monkeypatch, t)
    assert found
    assert all(step == expected(setup, trained) for step in found)


@pytest.mark.parametrize("engine", ENGINES)
def test_where_factors_take_turns_within_a_round_so_do_their_gradients(table, folders, monkeypatch, engine):
    """LA-LoRA trains B and A in turn, step by step."""
    setup = kept(hard(table, folders, "bert", algorithm="la-lora", runtime__engine=engine))
    schedule = setup.config.build_algorithm().local_schedule
    assert len(set(schedule)) == 2
    found = steps(setup, monkeypatch, 1)
    for number, step in enumerate(found):
        assert step == expected(setup, schedule[number % setup.config.training.local_steps % len(schedule)])


def with_gradient(setup, monkeypatch):
    """The layers whose output is part of some backward pass, and whether the embeddings' is."""
    backbone, met = setup.model.get_base_model().bert, set()

    def watch(place):
        def hook(module, args, output):
            if output.requires_grad:
                met.add(place)

        return hook

    backbone.embeddings.register_forward_hook(watch("embeddings"))
    for number, layer in enumerate(backbone.encoder.layer):
        layer.register_forward_hook(watch(number))
    steps(setup, monkeypatch, 1)
    return met


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lowest", range(LAYERS))
def test_nothing_is_backward_below_the_lowest_adapted_layer(table, folders, monkeypatch, engine, lowest, prefix):
    """The graph begins in that layer, wherever it is: below no output has one; from there up every output has."""
    adapted = list(range(lowest, LAYERS))
    setup = kept(
        hard(table, folders, "bert", lora__layers=adapted, runtime__engine=engine, runtime__prefix_cache=prefix)
    )
    assert with_gradient(setup, monkeypatch) == set(adapted)


def test_the_tests_see_a_backbone_that_is_trained(table, folders, monkeypatch):
    """The control: one weight below that requires a gradient makes both tests fail."""
    setup = prepare(hard(table, folders, "bert", runtime__prefix_cache=False))
    weight = setup.model.get_base_model().bert.encoder.layer[1].output.dense.weight
    plain = peft_boundary.set_trainable

    def too_much(model, factors, *, head):
        parts = plain(model, factors, head=head)
        weight.requires_grad_(True)
        return parts

    monkeypatch.setattr(peft_boundary, "set_trainable", too_much)
    with monkeypatch.context() as patch:
        assert all(("backbone", tuple(weight.shape)) in step for step in steps(setup, patch, 1))
    assert with_gradient(setup, monkeypatch) == {1, 2, 3}
