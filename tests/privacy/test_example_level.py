"""DP-SGD: gradients of single examples, what removing one can change, Poisson batches, and what a step moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rolora.errors import InputError
from rolora.experiment import loop
from rolora.experiment.setup import prepare
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.privacy import accounting
from rolora.privacy.accounting import Spending, epsilon
from rolora.privacy.example_level import ExamplePrivacy, gradients, local_training, per_example_gradients, poisson
from rolora.training.engines import ENGINES
from rolora.training.examples import pad
from tests.conftest import changed
from tests.experiment.test_experiment import Stop, adapter, measured, stop_after
from tests.models.test_families import FAMILIES, config_of
from tests.training.test_generation import asked, decoders, dialogues  # noqa: F401 - fixtures

CPU = torch.device("cpu")
EXAMPLE = {
    "privacy__mode": "example",
    "privacy__clip": 0.5,
    "privacy__noise_multiplier": 1.0,
    "privacy__delta": 1e-3,
}
STILL = {"lora__dropout": 0.0, "model__dropout": 0.0}


def moved(setup, factors=frozenset({"A", "B"})):
    """The trained parts, with B away from zero so that A has a gradient."""
    for index, layer in enumerate(peft_boundary.factor_parameters(setup.model).values()):
        drawn = Key(0).fold("moved", index).generator().standard_normal(tuple(layer["B"].shape))
        layer["B"].data.copy_(torch.from_numpy(0.3 * drawn))
    setup.model.train()
    return peft_boundary.set_trainable(setup.model, factors, head=True)


def one_at_a_time(setup, parts, chosen):
    """Plain autograd of each example's own loss, alone in its batch: (rows, all parameters)."""
    parameters = [parameter for part in parts.values() for parameter in part]
    rows = []
    for index in chosen:
        inputs, targets = pad([(setup.train, int(index))], CPU)
        loss = setup.train.objective.mean(setup.model(**inputs).logits, targets)
        rows.append(torch.cat([found.flatten() for found in torch.autograd.grad(loss, parameters)]))
    return torch.stack(rows).double()


def together(setup, parts, chosen):
    """What a private step sees: (rows, all parameters)."""
    parameters = [parameter for part in parts.values() for parameter in part]
    with per_example_gradients(setup.model):
        gradients(setup.model, parts, setup.train, np.asarray(chosen), CPU)
        return torch.cat([parameter.grad_sample.flatten(1) for parameter in parameters], dim=1).double()


def furthest(one, other):
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("name", ["bert", "roberta", "llama", "gpt2"])
def test_gradients_of_single_examples_are_those_of_plain_autograd(name, table, tiny_model, tmp_path):
    """In float64 but for the adapter, texts of different length beside each other: rounding of float32."""
    table["runtime"] = {"dtype": "float64"}
    table["lora"]["dropout"] = table["model"]["dropout"] = 0.0
    setup = prepare(config_of(name, table, tmp_path / name, tiny_model))
    parts = moved(setup)
    chosen = np.arange(9)
    assert len({setup.train.longest(chosen[[index]]) for index in chosen}) > 1
    expected = one_at_a_time(setup, parts, chosen)
    assert expected.abs().max() > 1e-3
    assert furthest(together(setup, parts, chosen), expected) < 1e-5
    assert furthest(together(setup, parts, chosen[::-1].copy()), expected) > 0.1  # control: rows tell examples apart


def test_a_generated_text_has_the_mean_loss_of_its_own_tokens(asked):  # noqa: F811
    setup = prepare(changed(asked, **STILL))
    parts = moved(setup)
    chosen = np.arange(7)
    assert len({setup.train.terms(chosen[[index]]) for index in chosen}) > 1
    assert furthest(together(setup, parts, chosen), one_at_a_time(setup, parts, chosen)) < 1e-4


@pytest.mark.parametrize("factors", [frozenset("A"), frozenset("B")])
def test_only_what_the_round_trains_has_gradients_and_the_model_is_left_as_it_was(table, factors):
    setup = prepare(changed(table, **STILL))
    parts = moved(setup, factors)
    hooks = [len(module._backward_hooks) + len(module._forward_hooks) for module in setup.model.modules()]
    assert together(setup, parts, np.arange(4)).shape[1] == sum(p.numel() for part in parts.values() for p in part)
    assert hooks == [len(module._backward_hooks) + len(module._forward_hooks) for module in setup.model.modules()]
    assert not any(hasattr(parameter, "grad_sample") for parameter in setup.model.parameters())


def clipped_sum(setup, parts, chosen, clip):
    """Opacus' own sum of clipped gradients, as the engine's optimiser takes it."""
    from opacus.optimizers import DPOptimizer

    parameters = [parameter for part in parts.values() for parameter in part]
    descent = DPOptimizer(
        torch.optim.SGD(parameters, lr=1.0), noise_multiplier=0.0, max_grad_norm=clip, expected_batch_size=1
    )
    with per_example_gradients(setup.model):
        descent.zero_grad(set_to_none=True)
        gradients(setup.model, parts, setup.train, np.asarray(chosen), CPU)
        descent.clip_and_accumulate()
        return torch.cat([parameter.summed_grad.flatten() for parameter in parameters]).double()


def test_one_example_less_changes_the_sum_by_at_most_the_clip(table):
    """Twelve drawn batches, down to none at all; without clipping the same examples change it by more."""
    setup = prepare(changed(table, **STILL))
    parts = moved(setup)
    drawn = Key(0).fold("removed").generator()
    clip, changes, unclipped = 0.05, [], []
    for _ in range(12):
        chosen = drawn.choice(len(setup.train), int(drawn.integers(1, 9)), replace=False)
        for largest, found in ((clip, changes), (1e9, unclipped)):
            whole = clipped_sum(setup, parts, chosen, largest)
            found.append(float((whole - clipped_sum(setup, parts, chosen[1:], largest)).norm()))
    assert max(changes) <= clip * (1 + 1e-5)  # sums in float32
    assert max(changes) > 0.99 * clip
    assert min(unclipped) > clip


def step_of(setup, config, indices, noise, seed=0):
    """One private step of plain descent at rate 1: what it moved, as one vector; the model is put back."""
    parts = moved(setup)
    parameters = [parameter for part in parts.values() for parameter in part]
    before = [parameter.detach().clone() for parameter in parameters]
    training = config.training.model_copy(
        update={"optimizer": "sgd", "learning_rate": 1.0, "local_steps": 1, "weight_decay": 0.0}
    )
    private = ExamplePrivacy(config.model_copy(update={"training": training}), noise)
    loss = private.train(setup.model, parts, setup.train, indices, key=Key(seed), device=CPU)
    step = torch.cat([(old - new.detach()).flatten() for old, new in zip(before, parameters, strict=True)]).double()
    for old, new in zip(before, parameters, strict=True):
        new.data.copy_(old)
    return step, loss


def test_a_step_is_the_clipped_sum_over_the_expected_size_plus_noise_of_that_size(table):
    """The noise by a chi-square interval, two-sided at 1e-6; without it, the sum to rounding."""
    config = changed(table, **EXAMPLE | STILL, training__batch_size=10)
    setup = prepare(config)
    indices = np.arange(40)
    without, loss = step_of(setup, config, indices, 0.0)
    drawn = poisson(accounting.stream(config, Key(0).fold("privacy", "batches")), indices, 0.25)
    parts = moved(setup)
    assert 0 < len(drawn) < 40
    assert furthest(without, clipped_sum(setup, parts, drawn, 0.5) / 10) < 1e-4
    inputs, targets = pad([(setup.train, int(index)) for index in drawn], CPU)
    expected = setup.train.objective.rows(setup.model(**inputs).logits.detach(), targets)[0].sum()
    assert loss == pytest.approx(float(expected) / 10, rel=1e-5)

    noise = (step_of(setup, config, indices, 3.0)[0] - without) / (3.0 * 0.5 / 10)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(noise))
    assert low < float(noise.square().sum()) < high
    other = (step_of(setup, config, indices, 3.0, seed=1)[0] - without) / (3.0 * 0.5 / 10)
    assert abs(float(torch.corrcoef(torch.stack([noise, other]))[0, 1])) < 0.5


def test_an_empty_batch_is_noise_alone(table):
    config = changed(table, **EXAMPLE | STILL, training__batch_size=1)
    setup = prepare(config)
    indices = np.arange(30)
    seed = next(
        seed
        for seed in range(100)
        if not len(poisson(Key(seed).fold("privacy", "batches").generator(), indices, 1 / 30))
    )
    still, loss = step_of(setup, config, indices, 0.0, seed)
    assert float(still.abs().max()) == 0.0
    assert loss == 0.0
    noise = step_of(setup, config, indices, 2.0, seed)[0] / (2.0 * 0.5)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(noise))
    assert low < float(noise.square().sum()) < high


def test_batches_are_independent_draws_of_the_rate():
    """Sizes of 2,000 batches: mean and variance of a binomial, each within five standard errors; every example as often."""
    draws = Key(0).generator()
    taken = np.zeros((2000, 50))
    for row in taken:
        row[poisson(draws, np.arange(50), 0.1)] = 1
    sizes = taken.sum(axis=1)
    assert abs(sizes.mean() - 5.0) < 5 * math.sqrt(4.5 / 2000)
    assert abs(sizes.var() - 4.5) < 5 * 4.5 * math.sqrt(2 / 2000)
    assert np.abs(taken.mean(axis=0) - 0.1).max() < 5 * math.sqrt(0.09 / 2000)


def test_a_run_resumes_to_the_same_bits_and_tells_the_worst_clients_epsilon(table, tmp_path):
    """With dropout, AdamW and clients of different size; each has its own rate over the steps of its own rounds."""
    config = changed(
        table,
        **EXAMPLE,
        federation__num_clients=4,
        federation__clients_per_round=3,
        federation__partition="dirichlet",
        federation__dirichlet_alpha=2.0,
    )
    whole = loop.run(config, tmp_path / "whole")
    with pytest.raises(Stop):
        loop.run(config, tmp_path / "cut", progress=stop_after(7))
    resumed = loop.run(config, tmp_path / "cut", resume=True)
    assert adapter(tmp_path / "cut") == adapter(tmp_path / "whole")
    assert measured(resumed) == measured(whole)
    assert resumed["privacy"] == whole["privacy"]
    rounds = [sum(client in entry["clients"] for entry in whole["rounds"]) for client in range(4)]
    spent = [
        epsilon(1.0, Spending(3 * taking_part, 4 / size), 1e-3)
        for taking_part, size in zip(rounds, whole["data"]["client_sizes"], strict=True)
    ]
    assert len(set(whole["data"]["client_sizes"])) > 1 and len(set(rounds)) > 1
    assert whole["privacy"]["epsilon"] == max(spent)


@pytest.mark.parametrize("algorithm", ["fedavg-lora", "la-lora", "fedsa-lora", "fedex-lora", "centralised"])
def test_every_method_can_be_trained_privately_by_example(table, tmp_path, algorithm):
    """What the server does with private updates, and what clients keep of their own, costs nothing more."""
    record = loop.run(changed(table, **EXAMPLE, algorithm=algorithm, federation__rounds=2), tmp_path)
    assert record["privacy"]["mode"] == "example"
    assert all(entry["loss"] > 0 for entry in record["rounds"])


def test_the_tiny_task_is_learnt_from_clipped_gradients(table, tmp_path):
    """With little noise: nothing of the mechanism stands in the way."""
    little = {"privacy__clip": 1.0, "privacy__noise_multiplier": 0.001, "training__batch_size": 16}
    config = changed(table, **EXAMPLE | little, federation__rounds=30, training__learning_rate=0.05)
    record = loop.run(config, tmp_path)
    assert record["final"]["accuracy"] > record["data"]["majority_rate"] + 0.2


def test_steps_that_take_turns_move_one_factor_alone(table):
    """LA-LoRA's first step is B's: A keeps its bits, though noise is added to all that is trained."""
    config = changed(table, **EXAMPLE | STILL, algorithm="la-lora", training__local_steps=1)
    setup = prepare(config)
    parts = moved(setup)
    before = [parameter.detach().clone() for parameter in parts["A"]], [p.detach().clone() for p in parts["B"]]
    private = ExamplePrivacy(config, 1.0)
    private.train(setup.model, parts, setup.train, setup.clients[0], key=Key(0), device=CPU, schedule="BA")
    assert all(torch.equal(one, other) for one, other in zip(parts["A"], before[0], strict=True))
    assert all((one != other).all() for one, other in zip(parts["B"], before[1], strict=True))


def test_a_client_smaller_than_a_batch_is_refused_before_anything_is_written(table, tmp_path):
    config = changed(table, **EXAMPLE, training__batch_size=61)
    with pytest.raises(
        InputError, match=r"training\.batch_size: got 61, expected at most 60, the number of client 0's"
    ):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_that_share_what_is_trained_are_refused(table, tiny_model, tmp_path):
    assert "deberta-v2" in FAMILIES
    config = config_of("deberta-v2", table, tmp_path / "deberta", tiny_model)
    config = changed(config.resolved(), **EXAMPLE)
    setup = prepare(config)
    guarantee = accounting.guarantee(config, [len(indices) for indices in setup.clients])
    with pytest.raises(InputError, match="the rows of a batch share relative positions"):
        local_training(config, guarantee, setup.model)


def test_an_engine_without_the_private_local_update_is_refused(table):
    config = changed(table, **EXAMPLE)
    setup = prepare(config)
    with pytest.raises(ValueError, match="train=None"):
        ENGINES["sequential"](setup.model, setup.train, setup.clients, config, setup.key)


def test_a_deployed_client_trains_privately_with_the_runs_noise(table):
    client = pytest.importorskip("rolora.deployment.client", reason="needs flwr")
    config = changed(table, **EXAMPLE)
    context = client.training_context(config)
    sizes = list(context.clients.values())
    private = context.engine.train.__self__
    assert isinstance(private, ExamplePrivacy)
    assert private.noise_multiplier == accounting.guarantee(config, sizes).noise_multiplier
