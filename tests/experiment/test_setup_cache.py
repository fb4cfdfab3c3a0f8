"""Runs of one process share a backbone where they can: it is loaded once, held once, and no run's bits change."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from rolora.experiment import lockstep, loop
from rolora.experiment.parallel import run_all
from rolora.experiment.setup import SetupCache, needs, prepare
from rolora.models import backbone, peft_boundary
from tests.conftest import changed
from tests.experiment.test_experiment import adapter, architectures, local_model
from tests.training.test_generation import asked, decoders, dialogues  # noqa: F401 - fixtures


@pytest.fixture
def loads(monkeypatch):
    """For every load of a backbone: how many of those loaded before were alive when it began."""
    models, alive, load = [], [], backbone.load

    def counted(*arguments):
        alive.append(sum(model() is not None for model in models))
        loaded = load(*arguments)
        models.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr(backbone, "load", counted)
    return alive


def assert_same_setup(setup, expected):
    assert setup.first.head.keys() == expected.first.head.keys()
    assert all(torch.equal(setup.first.head[name], tensor) for name, tensor in expected.first.head.items())
    assert setup.first.layers.keys() == expected.first.layers.keys()
    for name, layer in expected.first.layers.items():
        assert torch.equal(setup.first.layers[name].A, layer.A)
        assert torch.equal(setup.first.layers[name].B, layer.B)
    for part in ("clients", "shares"):
        assert all(map(np.array_equal, getattr(setup, part), getattr(expected, part)))
    assert setup.train.fields == expected.train.fields


@pytest.mark.parametrize("together", [False, True])
def test_three_seeds_load_one_backbone(table, tmp_path, loads, together):
    configs = [changed(table, seed=seed, runtime__engine="batched") for seed in range(3)]
    run_all(configs, tmp_path, False, 1, Console(quiet=True), together)
    assert loads == [0]


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_a_backbone_that_does_not_fit_is_released_before_the_next_is_loaded(table, tmp_path, loads, engine):
    residual = {"algorithm": "fedex-lora", "federation__rounds": 1}
    changes = [{}, {"lora__rank": 3}, residual, residual | {"seed": 1}, {"seed": 1}]
    configs = [changed(table, **change, runtime__engine=engine) for change in changes]
    run_all(configs, tmp_path, False, 1, Console(quiet=True))
    assert loads == [0] * len(changes)


@pytest.mark.parametrize("changed_part", ["head", "A"])
def test_a_first_state_that_loading_draws_otherwise_is_loaded_anew(table, tmp_path, loads, monkeypatch, changed_part):
    real = peft_boundary.first_state

    def other(*arguments, **options):
        state = real(*arguments, **options)
        if not options["head"]:  # as loading does
            return state
        if changed_part == "head":
            return replace(state, head={name: tensor + 1 for name, tensor in state.head.items()})
        return replace(state, layers={name: replace(layer, A=layer.A + 1) for name, layer in state.layers.items()})

    configs = [changed(table, seed=seed) for seed in range(2)]
    loop.run(configs[1], tmp_path / "alone")
    monkeypatch.setattr(peft_boundary, "first_state", other)
    run_all(configs, tmp_path, False, 1, Console(quiet=True))
    assert loads[1:] == [0, 0]
    assert adapter(tmp_path / configs[1].run_name()) == adapter(tmp_path / "alone")


@pytest.mark.parametrize("name", ["rolora", "fedavg-lora"])
@pytest.mark.parametrize("prefix", [False, True])
def test_a_run_on_a_used_backbone_has_the_bits_of_one_alone(table, tmp_path, name, prefix):
    """Model, texts and hidden states of an earlier run of the process, with another seed, method and learning rate."""
    changes = {"runtime__prefix_cache": prefix, "lora__layers": [1]} if prefix else {}
    first = changed(table, algorithm="ffa-lora", training__learning_rate=0.3, **changes)
    second = changed(table, algorithm=name, seed=7, **changes)
    setups = SetupCache()
    loop.run(first, tmp_path / "first", setups=setups)
    loop.run(second, tmp_path / "second", setups=setups)
    loop.run(second, tmp_path / "alone")
    assert adapter(tmp_path / "second") == adapter(tmp_path / "alone")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", architectures())
def test_heads_of_every_architecture_are_drawn_without_a_load(table, tiny_model, tmp_path, loads, name, dtype):
    local = local_model(name, tiny_model, tmp_path) | {"runtime__dtype": dtype}
    (setups := SetupCache()).get(changed(table, **local))
    config = changed(table, **local, seed=3)
    setup = setups.get(config)
    assert len(loads) == 1
    assert_same_setup(setup, prepare(config))


def test_packed_rows_are_those_of_the_seeds_own_clients(asked, loads):  # noqa: F811
    configs = [changed(asked, data__packing=True, seed=seed) for seed in (0, 1, 1)]
    setups = SetupCache()
    first, second, third = (setups.get(config) for config in configs)
    assert len(loads) == 1
    assert first.train.fields != second.train.fields
    assert second.train is third.train
    assert_same_setup(second, prepare(configs[1]))
    batched = [changed(asked, data__packing=True, seed=seed, runtime__engine="batched") for seed in (0, 1)]
    assert len(lockstep.sets(batched)) == 2  # one group has one set of hidden states


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({}, {"lora__rank": 3}),
        ({}, {"algorithm": "flora"}),
        ({}, {"runtime__dtype": "float64"}),
        ({}, {"data__validation_examples": 11}),
        ({}, {"evaluation__split": "validation"}),
        ({"model__head": "frozen"}, {"model__head": "frozen", "seed": 1}),
    ],
)
def test_a_run_that_needs_another_model_or_data_shares_none(table, changes, other):
    needed = needs(changed(table, **changes))
    assert needed == needs(changed(table, **changes, algorithm="ffa-lora", training__learning_rate=0.3))
    assert needed != needs(changed(table, **other))
