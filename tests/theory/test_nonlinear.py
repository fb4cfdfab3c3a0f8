"""The two-layer model: gradients, data, pairing of the methods, and the shape of the record."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.federation import ServerState
from rolora.keys import Key
from theory import nonlinear

TINY = replace(nonlinear.QUICK, learning_rates=(0.2,), seeds=1, rounds=5, evaluate_every=5, window=1)


def problem(replicas: tuple[int, ...] = ()) -> tuple[Layer, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(5))
    layer = Layer(generator.normal(size=(*replicas, 6, 2)), generator.normal(size=(*replicas, 2, 5)))
    pixels = generator.normal(size=(7, 6))
    targets = np.eye(4)[generator.integers(4, size=7)]
    return layer, generator.normal(size=(5, 4)), pixels, targets


@pytest.mark.parametrize("factor", ["A", "B"])
def test_gradients_agree_with_finite_differences(factor: str) -> None:
    layer, readout, pixels, targets = problem()
    _, slopes = nonlinear.gradients(layer, readout, pixels, targets, frozenset("AB"))
    array = getattr(layer, factor)
    # The central difference errs by step^2 (third derivative) plus rounding / step: 1e-5 balances the two.
    step = 1e-5
    for index in np.ndindex(array.shape):
        losses = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            losses.append(
                nonlinear.gradients(replace(layer, **{factor: moved}), readout, pixels, targets, frozenset())[0]
            )
        assert slopes[factor][index] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_frozen_factor_has_no_gradient() -> None:
    layer, readout, pixels, targets = problem()
    assert set(nonlinear.gradients(layer, readout, pixels, targets, frozenset("B"))[1]) == {"B"}


def test_replicas_on_leading_axes_are_independent() -> None:
    layer, readout, pixels, targets = problem(replicas=(3, 2))
    _, together = nonlinear.gradients(layer, readout, pixels, targets, frozenset("AB"))
    alone = Layer(layer.A[2, 1], layer.B[2, 1])
    _, slopes = nonlinear.gradients(alone, readout, pixels, targets, frozenset("AB"))
    for factor in "AB":
        np.testing.assert_allclose(together[factor][2, 1], slopes[factor], rtol=1e-13, atol=1e-14)


def test_zero_up_projection_kills_both_gradients() -> None:
    layer, readout, pixels, targets = problem()
    dead = replace(layer, B=np.zeros_like(layer.B))
    _, slopes = nonlinear.gradients(dead, readout, pixels, targets, frozenset("AB"))
    assert not slopes["A"].any() and not slopes["B"].any()


def test_split_is_stratified_disjoint_and_named_by_the_key() -> None:
    digits = nonlinear.load(Key(3), nonlinear.Settings())
    together = np.concatenate(list(digits.splits.values()))
    assert len(together) == len(digits.labels) == 1797
    assert len(np.unique(together)) == 1797
    counts = np.bincount(digits.labels[digits.splits["test"]], minlength=10)
    assert counts.min() >= 35 and counts.max() <= 37
    other = nonlinear.load(Key(4), nonlinear.Settings())
    assert not np.array_equal(digits.splits["test"], other.splits["test"])


@pytest.mark.parametrize("panel", nonlinear.PANELS, ids=lambda panel: panel.name)
def test_clients_hold_the_training_images_and_the_stated_labels(panel: nonlinear.Panel) -> None:
    digits = nonlinear.load(Key(0), nonlinear.Settings())
    clients = nonlinear.divide(Key(0), digits, panel)
    assert len(clients) == panel.num_clients
    assert np.array_equal(np.sort(np.concatenate(clients)), digits.splits["train"])
    labels = [set(digits.labels[part]) for part in clients]
    if panel.labels_per_client is None:
        assert all(len(held) == 10 for held in labels)
    else:
        assert [len(held) for held in labels] == [panel.labels_per_client] * panel.num_clients
        assert len(set.union(*labels)) == 10


def local_sgd(settings: nonlinear.Settings) -> tuple[nonlinear.LocalSGD, Layer]:
    keys = [Key(0).fold("seed", index) for index in range(settings.seeds)]
    digits = [nonlinear.load(key, settings) for key in keys]
    panel = nonlinear.PANELS[1]
    layer, readout = nonlinear.initial(keys, panel.rank, len(settings.learning_rates))
    clients = [nonlinear.divide(key, one, panel) for key, one in zip(keys, digits, strict=True)]
    return nonlinear.LocalSGD(digits, clients, keys, readout, settings), layer


def test_batches_are_full_distinct_within_an_epoch_and_the_same_for_every_method() -> None:
    local, _ = local_sgd(TINY)
    first, again, later = (list(local.batches(t, 2)) for t in (0, 0, 1))
    steps = len(first) // TINY.local_epochs
    assert {pixels.shape[:2] for pixels, _ in first} == {(1, TINY.batch_size)}
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(first, later, strict=True))
    held = {image.tobytes() for image in local.digits[0].pixels[local.clients[0][2]]}
    epoch = np.concatenate([pixels[0] for pixels, _ in first[:steps]])
    assert {image.tobytes() for image in epoch} <= held


def test_one_learning_rate_does_not_depend_on_the_others() -> None:
    both = replace(TINY, learning_rates=(0.1, 0.5))
    local, layer = local_sgd(both)
    alone, first = local_sgd(replace(TINY, learning_rates=(0.5,)))
    trained = local(0, 0, ServerState({"hidden": layer}), frozenset("AB")).message.factors
    expected = alone(0, 0, ServerState({"hidden": first}), frozenset("AB")).message.factors
    for factor in "AB":
        np.testing.assert_allclose(trained[factor]["hidden"][1], expected[factor]["hidden"][0], rtol=1e-9, atol=1e-12)


def test_gradient_clip_bounds_a_step() -> None:
    local, layer = local_sgd(replace(TINY, learning_rates=(1.0,), clip=1e-3, local_epochs=1))
    update = local(0, 0, ServerState({"hidden": layer}), frozenset("AB"))
    moved = [update.message.factors[factor]["hidden"] - getattr(layer, factor) for factor in "AB"]
    steps = len(list(local.batches(0, 0)))
    assert np.sqrt(sum((one**2).sum() for one in moved)) <= steps * 1e-3 * (1 + 1e-9)


def test_methods_start_from_the_same_point_and_learn() -> None:
    settings = replace(TINY, learning_rates=(0.5,))
    panel = nonlinear.PANELS[2]
    curves = {
        method: nonlinear.train(panel, method, Key(0), settings)[0]["test_accuracy"] for method in nonlinear.METHODS
    }
    assert len({curve[0] for curve in curves.values()}) == 1
    # Five rounds of IID clients: far above a guess (.1) for every method.
    assert all(curve[-1] > 0.3 for curve in curves.values())


def test_experiment_is_json_ready_complete_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(nonlinear.QUICK, rounds=2, evaluate_every=1, window=1, local_epochs=1)
    monkeypatch.setattr(nonlinear, "QUICK", small)
    monkeypatch.setattr(nonlinear, "PANELS", nonlinear.PANELS[:3])
    shares: list[float] = []
    record = nonlinear.experiment(1, True, shares.append)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert record == nonlinear.experiment(1, True, lambda share: None)
    grid = len(small.learning_rates) * small.seeds
    assert len(record["series"]) == (3 * 3 + 1) * grid
    chosen = {(one["panel"], one["algorithm"], one["learning_rate"]) for one in record["series"] if one["chosen"]}
    assert len(chosen) == 3 * 3 + 1
    for one in record["series"]:
        assert one["rounds"] == [0, 1, 2]
        assert len(one["test_accuracy"]) == len(one["validation_accuracy"]) == 3


def test_the_learning_rate_is_chosen_on_validation_and_not_on_test() -> None:
    settings = replace(TINY, learning_rates=(0.1, 0.2))
    curves = {
        "validation": np.array([[[0.0], [0.0]], [[0.9], [0.1]]]),
        "test": np.array([[[0.0], [0.0]], [[0.1], [0.9]]]),
    }
    series = nonlinear._series(nonlinear.PANELS[0], "rolora", settings, [0, 5], curves)
    assert [one["learning_rate"] for one in series if one["chosen"]] == [0.1]
