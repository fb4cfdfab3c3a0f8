"""Trimmed mean and median: what they are, whom they bear, which methods may have them."""

from __future__ import annotations

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from rolora.adapter import FACTORS
from rolora.algorithms import ALGORITHMS
from rolora.algorithms.means import median, trimmed_mean, weighted_mean
from rolora.algorithms.robust import AVERAGING, RobustAggregation
from rolora.algorithms.server_optimizer import ServerOptimizer
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.federation import aggregate, close_round, open_round, pack
from rolora.federation.communication import Ledger
from tests.conftest import changed, relative_error
from tests.federation.test_round import perturbing, state

ROUNDING = 2.0**-52

stacks = hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=st.floats(-1e6, 1e6))


@given(stacks)
def test_the_median_is_numpys(stack):
    assert np.allclose(median(list(stack)), np.median(stack, axis=0), rtol=4 * ROUNDING, atol=1e-300)


@given(stacks, st.floats(0, 0.49))
def test_the_trimmed_mean_is_scipys_but_for_the_cut_that_is_rounded_up(stack, fraction):
    cut = min(int(np.ceil(fraction * len(stack) - 1e-9)), (len(stack) - 1) // 2)
    expected = stats.trim_mean(stack, (cut + 0.5) / len(stack) if cut else 0.0, axis=0)
    scale = np.max(np.abs(stack), axis=0, initial=1e-300)
    assert np.all(np.abs(trimmed_mean(list(stack), fraction) - expected) <= 20 * ROUNDING * scale)


@given(stacks, st.randoms(use_true_random=False))
def test_the_order_of_arrays_changes_no_bit(stack, random):
    shuffled = list(stack)
    random.shuffle(shuffled)
    assert np.array_equal(trimmed_mean(shuffled, 0.2), trimmed_mean(list(stack), 0.2))


@pytest.mark.parametrize(("count", "cuts"), [(3, 1), (5, 1), (9, 1), (10, 1), (11, 2), (30, 3)])
def test_a_tenth_of_the_clients_is_cut_and_never_none(count, cuts):
    arrays = [np.asarray([float(index)]) for index in range(count)]
    arrays[:cuts] = [np.asarray([1e12])] * cuts  # as many as are cut
    assert 0 <= trimmed_mean(arrays, 0.1).item() <= count
    arrays[: cuts + 1] = [np.asarray([1e12])] * (cuts + 1)  # control: one more
    assert trimmed_mean(arrays, 0.1).item() > count or count == 3


@pytest.mark.parametrize("kind", ["numpy", "torch", "torch bfloat16", "strict"])
def test_every_array_library_finds_the_same(kind):
    plain = [np.asarray([[x, -x]], dtype=np.float32) for x in (1.0, 2.0, 4.0, 1e6, 8.0)]
    make = {
        "numpy": lambda x: x,
        "torch": torch.from_numpy,
        "torch bfloat16": lambda x: torch.from_numpy(x).bfloat16(),
        "strict": array_api_strict.asarray,
    }[kind]
    found = median([make(x) for x in plain]), trimmed_mean([make(x) for x in plain], 0.2)
    assert [type(x) for x in found] == [type(make(plain[0]))] * 2
    assert all(x.dtype == make(plain[0]).dtype for x in found)
    values = [np.asarray(x.float() if kind.startswith("torch") else x) for x in found]
    assert np.array_equal(values[0], [[4.0, -4.0]])
    assert relative_error(values[1], [[14 / 3, -14 / 3]]) < (2**-8 if "bfloat16" in kind else 2**-22)


METHODS = {
    "median": lambda inner: RobustAggregation(inner, "median"),
    "trimmed_mean": lambda inner: RobustAggregation(inner, "trimmed_mean", 0.2),
}


def rounds(algorithm, bad, count=2):
    """The server after some rounds of five clients, of which one sends a million times what it should; and the honest ones' range."""
    server, ledger, inside = state(), Ledger(), True
    update = perturbing(algorithm)
    for t in range(count):
        opened = open_round(t, server, algorithm, range(5), ledger)
        updates = [update(t, client, opened.broadcasts[client], opened.trainable) for client in range(5)]
        if bad:
            message = updates[3].message
            factors = {f: {name: 1e6 * x for name, x in xs.items()} for f, xs in message.factors.items()}
            head = {name: -1e6 * x for name, x in message.head.items()}
            updates[3] = replace(updates[3], message=replace(message, factors=factors, head=head))
        server, ledger, _ = close_round(opened, server, algorithm, updates, ledger)
        honest = [pack_of(update.message) for index, update in enumerate(updates) if index != 3]
        after = pack_of(pack(server, algorithm.sent(t) | {"head"}))
        for place in after:
            values = np.stack([one[place] for one in honest])
            slack = 4 * ROUNDING * np.abs(values).max(axis=0)
            inside &= bool(
                np.all((values.min(axis=0) - slack <= after[place]) & (after[place] <= values.max(axis=0) + slack))
            )
    return server, inside


def pack_of(message):
    return {(part, name): array for part, name, array in message.arrays()}


@pytest.mark.parametrize("name", AVERAGING)
@pytest.mark.parametrize("kind", METHODS)
def test_one_bad_client_of_five_stays_within_the_range_of_the_honest(name, kind):
    """Head and both factors; with the mean it does not (control)."""
    robust = METHODS[kind](ALGORITHMS[name]())
    assert rounds(robust, bad=True)[1]
    assert not rounds(ALGORITHMS[name](), bad=True)[1]


@pytest.mark.parametrize("name", AVERAGING)
def test_it_is_the_method_where_all_clients_agree(name):
    """And whatever the round does not train keeps its bits."""
    robust, inner = METHODS["median"](ALGORITHMS[name]()), ALGORITHMS[name]()
    for t in range(2):
        opened = open_round(t, state(), inner, range(3), Ledger())
        one = perturbing(inner)(t, 0, opened.broadcasts[0], opened.trainable)
        updates = [replace(one, client=client) for client in range(3)]
        found, expected = (aggregate(t, state(), method, updates, opened.broadcasts) for method in (robust, inner))
        for layer in found.layers:
            for factor in FACTORS:
                mine, its = (getattr(each.layers[layer], factor) for each in (found, expected))
                assert relative_error(mine, its) < 4 * ROUNDING
                if factor not in inner.changed(t):
                    assert np.array_equal(mine, getattr(state().layers[layer], factor))
        assert relative_error(found.head["head.weight"], expected.head["head.weight"]) < 4 * ROUNDING


def test_weights_count_for_nothing():
    robust = METHODS["median"](ALGORITHMS["rolora"]())
    opened = open_round(0, state(), robust, range(3), Ledger())
    updates = [perturbing(robust)(0, client, opened.broadcasts[client], opened.trainable) for client in range(3)]
    loud = [replace(update, weight=1e9 if update.client == 2 else 1.0) for update in updates]
    one, other = (aggregate(0, state(), robust, each, opened.broadcasts) for each in (updates, loud))
    assert all(np.array_equal(one.layers[name].B, other.layers[name].B) for name in one.layers)
    heads = [update.message.head["head.weight"] for update in updates]
    assert np.array_equal(one.head["head.weight"], median(heads))
    assert not np.array_equal(median(heads), weighted_mean(heads, [1 / 3] * 3))


def test_the_servers_optimiser_steps_on_it():
    robust = METHODS["median"](ALGORITHMS["rolora"]())
    stepping = ServerOptimizer(robust, "momentum", 1.0, 0.0, 0.0, 1.0)
    assert (stepping.name, stepping.averages) == ("rolora", False)
    one, other = (rounds(method, bad=True) for method in (robust, stepping))
    assert other[1]
    assert all(relative_error(other[0].layers[name].A, one[0].layers[name].A) < 1e-14 for name in one[0].layers)
    assert np.array_equal(one[0].head["head.weight"], other[0].head["head.weight"])


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in AVERAGING])
def test_other_methods_are_refused(table, name):
    words = f'federation.aggregation is "median", expected "mean" with {name}: its server takes more than'
    with pytest.raises(InputError, match=words):
        changed(table, algorithm=name, federation__aggregation="median", federation__client_weights="uniform")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"aggregation": "median"}, "federation.client_weights: got 'examples', expected \"uniform\""),
        ({"aggregation": "trimmed_mean"}, "trim_fraction: got nothing, expected a number"),
        ({"trim_fraction": 0.1}, "trim_fraction: got 0.1, expected nothing"),
        ({"aggregation": "trimmed_mean", "trim_fraction": 0.5}, "trim_fraction: got 0.5, expected less than 0.5"),
        ({"aggregation": "median", "client_weights": "uniform", "num_clients": 2}, "got 2, expected at least 3"),
        ({"aggregation": "median", "client_weights": "uniform", "minimum_clients": 2}, "got 2, expected at least 3"),
        ({"aggregation": "mode"}, "aggregation: got 'mode', expected 'mean'"),
    ],
)  # fmt: skip
def test_what_would_not_be_robust_is_refused_in_one_line(table, changes, words):
    with pytest.raises(InputError, match=words):
        changed(table, **{f"federation__{name}": value for name, value in changes.items()})


def test_a_private_mean_is_no_median(table):
    privacy = {"mode": "client", "clip": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}
    with pytest.raises(InputError, match=r'expected "mean" with privacy\.mode = "client"'):
        changed(table, federation__aggregation="median", federation__client_weights="uniform", privacy=privacy)


@pytest.mark.parametrize("engine", ["sequential", "batched"])
def test_a_run_with_medians(table, tmp_path, engine):
    config = changed(
        table, federation__aggregation="median", federation__client_weights="uniform", federation__num_clients=5,
        federation__rounds=2, runtime__engine=engine,
    )  # fmt: skip
    running = loop.Experiment(config, tmp_path)
    opened = running.open_round()
    updates = running.engine.local_updates(0, opened.broadcasts, opened.trainable)
    running.close_round(opened, updates, 0.0)
    for name, layer in running.server.layers.items():
        sent = [update.message.factors["B"][name].numpy() for update in updates]
        assert np.array_equal(layer.B.numpy(), np.median(sent, axis=0))
        assert torch.equal(layer.A, opened.broadcasts[0].layers[name].A)
