"""Toy layers: the identity behind interference, who is exact, and what the spread of the clients does."""

from __future__ import annotations

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.studies.toy_layers import METHODS, Sizes, lost, one_round, targets, trained


@pytest.fixture(scope="module")
def found():
    return lost(sizes=Sizes(rounds=4))


def test_every_method_with_one_common_model_is_there(found):
    assert set(METHODS) == set(ALGORITHMS) - {"fedsa-lora", "local-only", "centralised"} == set(found)


def test_who_declares_to_be_exact_misses_nothing(found):
    for name, rounds in found.items():
        missed = max(one["missed"] for entry in rounds for one in entry.values() if one["missed"] is not None)
        if ALGORITHMS[name].exactness == "exact":
            assert missed < 1e-5, name
        else:
            assert missed > 0.1, name


def test_fedavg_misses_the_interference_and_it_grows_with_the_spread(found):
    for entry in found["fedavg-lora"]:
        for one in entry.values():
            assert one["missed"] == pytest.approx(one["interference"], abs=1e-12)
    by_spread = [one["missed"] for one in found["fedavg-lora"][-1].values()]
    assert by_spread[0] < 1e-12 and by_spread == sorted(by_spread)


def test_the_clients_of_the_first_layer_want_the_same():
    wanted = targets(Key(0))
    assert np.ptp(wanted["spread 0"], axis=0).max() == 0
    assert np.ptp(wanted["spread 2"], axis=0).max() > 0
    np.testing.assert_allclose(np.linalg.norm(wanted["spread 0"], axis=(1, 2)), 1)


def test_a_step_descends_and_a_schedule_moves_one_factor_at_a_time():
    draw = Key(3).generator().standard_normal
    layer, target = Layer(draw((5, 2)), draw((2, 4))), draw((5, 4))

    def loss(one: Layer) -> float:
        return float(np.sum((one.update - target) ** 2)) / 2

    for factor in "AB":
        eps, rest = 1e-6, trained(layer, target, frozenset(factor), 1e-3, 1)
        step = (getattr(layer, factor) - getattr(rest, factor)) / 1e-3
        moved = trained(layer, target, frozenset(factor), eps, 1)
        assert (loss(layer) - loss(moved)) / eps == pytest.approx(np.sum(step**2), rel=1e-4)
    first = trained(layer, target, frozenset("AB"), 1e-3, 1, "BA")
    assert np.array_equal(first.A, layer.A) and not np.array_equal(first.B, layer.B)
    second = trained(layer, target, frozenset("AB"), 1e-3, 2, "BA")
    assert np.array_equal(second.B, first.B) and not np.array_equal(second.A, first.A)


def test_with_one_factor_common_the_products_mean_is_the_product_of_means():
    a, b = one_round("spread 1", "B")
    np.testing.assert_allclose((a @ b).mean(axis=0), a.mean(axis=0) @ b.mean(axis=0), atol=1e-15)
    a, b = one_round("spread 1")
    gap = (a @ b).mean(axis=0) - a.mean(axis=0) @ b.mean(axis=0)
    assert np.linalg.norm(gap) > 1e-3
    np.testing.assert_allclose(gap, ((a - a.mean(axis=0)) @ (b - b.mean(axis=0))).mean(axis=0), atol=1e-15)
