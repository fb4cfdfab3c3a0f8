"""The three objectives against values computed by hand, and the gradient of a batch whatever way it is cut."""

import numpy as np
import pytest
import torch

from rolora.keys import Key
from rolora.training.objectives import IGNORED, OBJECTIVES

GENERATION, REGRESSION, CLASSIFICATION = (OBJECTIVES[name] for name in ("generation", "regression", "classification"))


def test_generation_learns_the_next_token_of_the_response_alone():
    """Three tokens of a vocabulary of two; p(token 1) = 1/4 after the first, 1/2 after the second."""
    logits = torch.tensor([[[3.0, 1.0], [0.0, 0.0], [9.0, -9.0]]], dtype=torch.float64).log_softmax(-1)
    logits[0, 0] = torch.tensor([0.75, 0.25], dtype=torch.float64).log()
    targets = GENERATION.targets([[IGNORED, 1, 0]], 3)
    sums, terms = GENERATION.rows(logits, targets)
    assert terms.tolist() == [2]
    torch.testing.assert_close(sums, torch.tensor([np.log(4) + np.log(2)], dtype=torch.float64))
    torch.testing.assert_close(GENERATION.mean(logits, targets), sums[0] / 2)


def test_padding_and_prompts_do_not_count():
    stream = torch.Generator().manual_seed(Key(3).integer() % 2**31)
    logits = torch.randn(2, 5, 7, generator=stream, dtype=torch.float64)
    targets = GENERATION.targets([[IGNORED, IGNORED, 4], [IGNORED, 2, 3, 1, 6]], 5)
    changed = logits.clone()
    changed[0, 0] = changed[0, 2:] = 5.0  # before the prompt's last token, and at and after the row's last
    sums, terms = GENERATION.rows(logits, targets)
    others, _ = GENERATION.rows(changed, targets)
    assert terms.tolist() == [1, 4]
    torch.testing.assert_close(sums, others, rtol=0, atol=0)
    torch.testing.assert_close(GENERATION.mean(logits, targets), sums.sum() / 5)


def test_regression_is_the_squared_error_of_the_one_output():
    logits = torch.tensor([[1.0], [3.0]])
    targets = REGRESSION.targets([0.5, 5.0], 9)
    sums, terms = REGRESSION.rows(logits, targets)
    assert sums.tolist() == [0.25, 4.0] and terms.tolist() == [1, 1]
    assert float(REGRESSION.mean(logits, targets)) == 2.125
    assert REGRESSION.predictions(logits).tolist() == [1.0, 3.0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_mean_is_the_rows_sums_over_their_terms(name):
    objective = OBJECTIVES[name]
    stream = torch.Generator().manual_seed(Key(4).integer() % 2**31)
    shape, labels = {
        "classification": ((3, 4), [0, 3, 1]),
        "regression": ((3, 1), [0.1, -2.0, 5.0]),
        "generation": ((3, 4, 6), [[IGNORED, 1], [IGNORED, 0, 5, 2], [IGNORED, 3, 4]]),
    }[name]
    logits = torch.randn(*shape, generator=stream, dtype=torch.float64)
    targets = objective.targets(labels, 4)
    sums, terms = objective.rows(logits, targets)
    torch.testing.assert_close(objective.mean(logits, targets), sums.sum() / terms.sum())
    total, counted = objective.total(logits, targets)
    torch.testing.assert_close(total, sums.sum())
    assert counted == int(terms.sum())


def test_a_label_is_predicted_by_the_largest_logit():
    assert CLASSIFICATION.predictions(torch.tensor([[0.0, 2.0, 1.0]])).tolist() == [1]
