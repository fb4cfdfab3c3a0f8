"""The metrics against their definitions, and where those say nothing: finite numbers, and no warning (it would be an error)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolora.data.metrics import DEFAULT, METRICS, OF_TASK, compute
from rolora.errors import InputError

LABELS = OF_TASK["classification"]
NUMBERS = OF_TASK["regression"]

labelled = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 1), min_size=n, max_size=n),) * 2)
)  # fmt: skip


@given(labelled)
def test_metrics_of_two_labels_are_their_definitions(pair):
    predictions, references = map(np.array, pair)
    tp, tn = (int(np.sum((predictions == one) & (references == one))) for one in (1, 0))
    fp, fn = int(np.sum(predictions > references)), int(np.sum(predictions < references))
    root = ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    found = compute(LABELS, predictions, references)
    assert list(found) == list(LABELS)
    assert found["accuracy"] == pytest.approx((tp + tn) / len(references))
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0)
    assert found["matthews_correlation"] == pytest.approx((tp * tn - fp * fn) / root if root else 0.0)
    both = [2 * hit / (2 * hit + fp + fn) for hit, seen in ((tp, tp + fp + fn), (tn, tn + fp + fn)) if seen]
    assert found["macro_f1"] == pytest.approx(sum(both) / len(both))


@given(labelled)
def test_pearson_of_two_labels_is_matthews(pair):
    predictions, references = map(np.array, pair)
    found = compute(["pearson", "matthews_correlation"], predictions, references)
    assert found["pearson"] == pytest.approx(found["matthews_correlation"], abs=1e-12)


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=20), st.integers(0, 10**6))
def test_pearson_and_spearman_are_their_definitions(values, seed):
    references = np.array(values, dtype=np.float64)
    predictions = np.random.default_rng(seed).integers(-3, 4, size=len(values)).astype(np.float64)
    found = compute(NUMBERS, predictions, references)
    rank = lambda array: np.array([np.mean(np.flatnonzero(np.sort(array) == value)) for value in array])  # noqa: E731
    for name, of in (("pearson", lambda array: array), ("spearman", rank)):
        x, y = (of(array) - of(array).mean() for array in (predictions, references))
        norms = np.sqrt((x @ x) * (y @ y))
        assert found[name] == pytest.approx(x @ y / norms if norms else 0.0, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("predictions", [[0] * 4, [1] * 4, [0, 1, 1, 0]])
@pytest.mark.parametrize("references", [[0] * 4, [1] * 4, [0, 0, 1, 1]])
def test_constant_sides_give_finite_numbers_without_a_warning(name, predictions, references):
    found = compute([name], np.array(predictions), np.array(references))
    json.dumps(found, allow_nan=False)
    constant = len(set(predictions)) == 1 or len(set(references)) == 1
    if constant and name in ("matthews_correlation", "pearson", "spearman"):
        assert found == {name: 0.0}


def test_what_varies_by_rounding_alone_is_constant():
    predictions = np.array([2.5, np.nextafter(2.5, 3), 2.5])
    assert compute(NUMBERS, predictions, np.array([0.0, 5.0, 1.0])) == {"pearson": 0.0, "spearman": 0.0}
    assert compute(NUMBERS, np.array([2.5]), np.array([1.0])) == {"pearson": 0.0, "spearman": 0.0}
    assert compute(NUMBERS, np.float32([1, 2, 4]), np.array([1.0, 2.0, 3.0]))["spearman"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("names", "predictions", "references", "words"),
    [
        (["bleu"], [0], [0], "metrics: got 'bleu', expected one of accuracy, f1"),
        (["accuracy"], [], [], "expected one prediction for each of at least one reference"),
        (["accuracy"], [0, 1], [0], r"shape \(2,\) and references of shape \(1,\)"),
        (["pearson"], [0.0, np.nan, np.inf], [0.0, 1.0, 2.0], "2 of 3 predictions are not finite numbers"),
    ],
)
def test_what_cannot_be_measured_has_one_line(names, predictions, references, words):
    with pytest.raises(InputError, match=words):
        compute(names, np.array(predictions), np.array(references))


def test_every_task_is_measured_by_what_it_can_have():
    assert set(METRICS) == {name for names in OF_TASK.values() for name in names}
    assert all(set(names) <= set(OF_TASK[task]) for task, names in DEFAULT.items())
