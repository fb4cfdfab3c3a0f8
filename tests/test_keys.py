"""Streams by name: equal paths give equal streams, and no two different paths the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rolora.keys import Key

PARTS = st.lists(st.one_of(st.text(max_size=5), st.integers(-5, 5)), max_size=4)


@given(st.integers(), PARTS)
def test_the_same_path_gives_the_same_bits(seed, parts):
    one, two = (Key(seed).fold(*parts).generator().integers(2**63, size=4) for _ in range(2))
    assert np.array_equal(one, two)


@given(st.integers(-3, 3), PARTS, st.integers(-3, 3), PARTS)
def test_different_paths_are_different_streams(seed, parts, other_seed, others):
    same = (seed, parts) == (other_seed, others) and [*map(type, parts)] == [*map(type, others)]
    assert (Key(seed).fold(*parts).integer() == Key(other_seed).fold(*others).integer()) == same


def test_a_separator_in_a_name_is_not_a_separator_of_names():
    paths = [("a", "b"), ("ab",), ("a/str:1:b",), ("a/b",), ("a", 1), ("a", "1"), ("a1",)]
    assert len({Key(0).fold(*path).integer() for path in paths}) == len(paths)


def test_folding_in_steps_is_folding_at_once():
    assert Key(0).fold("client", 3).fold("round", 1) == Key(0).fold("client", 3, "round", 1)


def test_integers_fit_torch():
    assert all(0 <= Key(seed).integer() < 2**63 for seed in range(200))
