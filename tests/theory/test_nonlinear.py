"""The two-layer model: gradients, batches, and the stacked local update against the plain one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.federation import ServerState, run_round
from rolora.federation.communication import Ledger
from rolora.keys import Key
from theory.nonlinear import images, model
from theory.studies.nonlinear import PANELS, Settings, divide, split


def problem(replicas: tuple[int, ...] = ()) -> tuple[Layer, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(5))
    layer = Layer(generator.normal(size=(*replicas, 6, 2)), generator.normal(size=(*replicas, 2, 5)))
    pixels = generator.normal(size=(7, 6))
    targets = np.eye(4)[generator.integers(4, size=7)]
    return layer, generator.normal(size=(5, 4)), pixels, targets


@pytest.mark.parametrize("factor", ["A", "B"])
def test_gradients_agree_with_finite_differences(factor: str) -> None:
    layer, readout, pixels, targets = problem()
    _, slopes = model.gradients(layer, readout, pixels, targets, frozenset("AB"))
    array = getattr(layer, factor)
    # The central difference errs by step^2 (third derivative) plus rounding / step: 1e-5 balances the two.
    step = 1e-5
    for index in np.ndindex(array.shape):
        losses = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            losses.append(model.gradients(replace(layer, **{factor: moved}), readout, pixels, targets, frozenset())[0])
        assert slopes[factor][index] == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_frozen_factor_has_no_gradient() -> None:
    layer, readout, pixels, targets = problem()
    assert set(model.gradients(layer, readout, pixels, targets, frozenset("B"))[1]) == {"B"}


def test_replicas_on_leading_axes_are_independent() -> None:
    layer, readout, pixels, targets = problem(replicas=(3, 2))
    _, together = model.gradients(layer, readout, pixels, targets, frozenset("AB"))
    alone = Layer(layer.A[2, 1], layer.B[2, 1])
    _, slopes = model.gradients(alone, readout, pixels, targets, frozenset("AB"))
    for factor in "AB":
        np.testing.assert_allclose(together[factor][2, 1], slopes[factor], rtol=1e-13, atol=1e-14)


def test_zero_up_projection_kills_both_gradients() -> None:
    layer, readout, pixels, targets = problem()
    dead = replace(layer, B=np.zeros_like(layer.B))
    _, slopes = model.gradients(dead, readout, pixels, targets, frozenset("AB"))
    assert not slopes["A"].any() and not slopes["B"].any()


def local_sgd(
    seeds: int = 2, rates: tuple[float, ...] = (0.1, 0.5), clip: float = 10.0, epochs: int = 2, dtype: str = "float64"
) -> tuple[model.LocalSGD, Layer]:
    keys = [Key(0).fold("seed", index) for index in range(seeds)]
    found = images.find("digits", dtype)
    parts = [split(key, found, Settings())["train"] for key in keys]
    clients = [divide(key, found.labels, part, PANELS[1]) for key, part in zip(keys, parts, strict=True)]
    layer, readout = model.initial(keys, 64, 16, len(rates), dtype)
    return model.LocalSGD(found, clients, keys, readout, rates, epochs, 16, clip), layer


def test_batches_are_full_distinct_within_an_epoch_and_the_same_for_every_method() -> None:
    local, _ = local_sgd(seeds=1)
    first, again, later = (list(local.batches(t, [2])) for t in (0, 0, 1))
    assert len(first) == local.steps * local.local_epochs
    assert {pixels.shape[:3] for pixels, _ in first} == {(1, 1, 16)}
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(first, later, strict=True))
    held = {image.tobytes() for image in local.images.pixels[local.clients[0][2]]}
    epoch = np.concatenate([pixels[0, 0] for pixels, _ in first[: local.steps]])
    assert {image.tobytes() for image in epoch} <= held


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("trained", ["A", "B", "AB"])
@pytest.mark.parametrize("stack", [1, 2**17, 2**30], ids=["one client", "some clients", "all clients"])
def test_clients_trained_together_have_the_bits_of_clients_trained_alone(
    dtype: str, trained: str, stack: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "STACK", stack)
    local, layer = local_sgd(dtype=dtype)
    broadcast = ServerState({model.HIDDEN: layer})
    together = local.together(3, broadcast, frozenset(trained))
    assert [update.client for update in together] == list(range(10))
    for update in together:
        alone = local(3, update.client, broadcast, frozenset(trained))
        assert update.round == alone.round and update.loss == pytest.approx(alone.loss, rel=1e-6)
        for part, name, array in alone.message.arrays():
            found = update.message.factors[part][name]
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize("method", ["fedavg-lora", "ffa-lora", "rolora"])
def test_a_stacked_round_is_the_round_of_the_core(method: str) -> None:
    local, layer = local_sgd(epochs=1)
    stacked = plain = ServerState({model.HIDDEN: layer})
    ledger, algorithm = Ledger(), ALGORITHMS[method]()
    for t in range(2):
        stacked = model.federated_round(t, stacked, algorithm, local)
        plain, ledger, _ = run_round(t, plain, algorithm, range(10), local, ledger)
    for factor in "AB":
        expected = getattr(plain.layers[model.HIDDEN], factor)
        np.testing.assert_array_equal(getattr(stacked.layers[model.HIDDEN], factor), expected)


def test_one_learning_rate_does_not_depend_on_the_others() -> None:
    local, layer = local_sgd(rates=(0.1, 0.5))
    alone, first = local_sgd(rates=(0.5,))
    trained = local(0, 0, ServerState({model.HIDDEN: layer}), frozenset("AB")).message.factors
    expected = alone(0, 0, ServerState({model.HIDDEN: first}), frozenset("AB")).message.factors
    for factor in "AB":
        np.testing.assert_allclose(
            trained[factor][model.HIDDEN][1], expected[factor][model.HIDDEN][0], rtol=1e-9, atol=1e-12
        )


def test_gradient_clip_bounds_a_step() -> None:
    local, layer = local_sgd(seeds=1, rates=(1.0,), clip=1e-3, epochs=1)
    update = local(0, 0, ServerState({model.HIDDEN: layer}), frozenset("AB"))
    moved = [update.message.factors[factor][model.HIDDEN] - getattr(layer, factor) for factor in "AB"]
    assert np.sqrt(sum((one**2).sum() for one in moved)) <= local.steps * 1e-3 * (1 + 1e-9)


def test_float32_agrees_with_float64_to_its_rounding() -> None:
    moved = {}
    for dtype in ("float32", "float64"):
        local, layer = local_sgd(seeds=1, rates=(0.1,), epochs=1, dtype=dtype)
        server = model.federated_round(0, ServerState({model.HIDDEN: layer}), ALGORITHMS["rolora"](), local)
        moved[dtype] = server.layers[model.HIDDEN].B - layer.B
    error = np.linalg.norm(moved["float32"] - moved["float64"]) / np.linalg.norm(moved["float64"])
    # Six steps of sums of at most 64 terms; the start itself is rounded once.
    assert error < 6 * 64 * np.finfo(np.float32).eps


def test_accuracy_counts_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    local, layer = local_sgd()
    parts = [np.arange(index, 1000 + index) for index in range(2)]
    whole = model.accuracy(layer, local.readout, local.images, parts)
    monkeypatch.setattr(model, "BLOCK", 300)
    blocks = model.accuracy(layer, local.readout, local.images, parts)
    assert whole.shape == (2, 2)
    np.testing.assert_allclose(blocks, whole, atol=1e-3)
