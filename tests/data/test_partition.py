"""Partitions cover the data once, follow their seed, and never leave a client without data silently."""

from __future__ import annotations

import numpy as np
import pytest

from rolora.data import partition
from rolora.errors import InputError
from rolora.federation.sampling import sample_clients
from rolora.keys import Key

LABELS = np.arange(600) % 6
CASES = {
    "iid": lambda key: partition.iid(key, LABELS, 7),
    "dirichlet": lambda key: partition.dirichlet(key, LABELS, 7, 0.5),
    "by-label": lambda key: partition.by_label(key, LABELS, 6, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_every_example_has_exactly_one_client(case):
    parts = CASES[case](Key(0))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(600))
    assert all(len(part) for part in parts)


@pytest.mark.parametrize("case", CASES)
def test_the_key_alone_decides(case):
    one, two, other = CASES[case](Key(0)), CASES[case](Key(0)), CASES[case](Key(1))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_iid_sizes_differ_by_at_most_one():
    sizes = [len(part) for part in partition.iid(Key(0), np.zeros(100), 7)]
    assert max(sizes) - min(sizes) == 1


def shares(alpha):
    parts = partition.dirichlet(Key(3), LABELS, 10, alpha)
    counts = np.stack([np.bincount(LABELS[part], minlength=6) for part in parts])
    return counts / counts.sum(axis=1, keepdims=True)


def test_small_alpha_skews_labels_and_large_alpha_does_not():
    assert shares(0.1).max(axis=1).mean() > 0.5
    assert np.abs(shares(1e6) - 1 / 6).max() < 0.02


def test_by_label_gives_each_client_its_number_of_labels():
    parts = partition.by_label(Key(0), np.arange(1000) % 10, 5, 2)
    held = [set((part % 10).tolist()) for part in parts]
    assert all(len(labels) == 2 for labels in held)
    assert set().union(*held) == set(range(10))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: partition.iid(Key(0), np.zeros(3), 5), "iid leaves client 3 without data"),
        (lambda: partition.dirichlet(Key(0), np.zeros(20), 15, 0.01), "dirichlet leaves client"),
        (lambda: partition.dirichlet(Key(0), LABELS, 3, 0.0), "dirichlet_alpha: got 0.0"),
        (lambda: partition.by_label(Key(0), LABELS, 3, 7), "labels_per_client: got 7, expected 1 to 6"),
        (lambda: partition.by_label(Key(0), LABELS, 2, 2), "expected at least 6"),
        (lambda: sample_clients(Key(0), 0, 3, 4), "clients_per_round: got 4"),
    ],
)
def test_what_cannot_be_divided_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_participation_is_a_sample_of_its_own_for_each_round():
    rounds = [sample_clients(Key(0), t, 20, 5) for t in range(10)]
    assert all(len(set(clients)) == 5 and clients == sorted(clients) for clients in rounds)
    assert len({tuple(clients) for clients in rounds}) > 5
    assert rounds == [sample_clients(Key(0), t, 20, 5) for t in range(10)]
