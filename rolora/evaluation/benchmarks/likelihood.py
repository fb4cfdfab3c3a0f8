"""Log-likelihoods of options, computed by lm-evaluation-harness (the extra ``evaluation``).

With c tokens of the context alone, the option's tokens are those from c on of context and option tokenised as one text; white
space that ends the context belongs to the option. (Where a tokenizer merges characters over the border, the merged token is
not scored.) A text that is too long loses tokens at its beginning, and that is counted.

Three accuracies follow: the likeliest option by the sum, by the sum over characters, by the sum over tokens.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rolora.errors import InputError
from rolora.evaluation.benchmarks.benchmark import Normalisation, Option
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.models import precision

BATCHES_PER_CALL = 16
"""Batches that the harness sorts by length; progress is reported after each call."""

Progress = Callable[[int, int], None]
"""Receives the number of completed texts and their total."""


@dataclass(frozen=True)
class Score:
    """log p(option | context) in nats, over this many tokens and characters; ``cut``: tokens lost of the context."""

    log_likelihood: float
    tokens: int
    characters: int
    cut: int = 0

    def by(self, normalisation: Normalisation) -> float:
        """Return the value by which options are compared.

        Example:
            >>> Score(-6.0, 2, 12).by("character")
            -0.5
        """
        return (
            self.log_likelihood / {"sum": 1, "token": self.tokens, "character": max(self.characters, 1)}[normalisation]
        )


def require_harness() -> None:
    """Raise InputError if lm-evaluation-harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise InputError(
            "likelihood and labels need the package lm_eval: pip install 'rolora[evaluation]', or use --how generation"
        )


def log_likelihoods(
    decoder: Decoder, options: Sequence[Option], batch_size: int, progress: Progress = lambda completed, total: None
) -> list[Score]:
    """Score each option given its context.

    Args:
        decoder: the model.
        options: to score.
        batch_size: texts at a time; another one changes scores by rounding.
        progress: called after every few batches.

    Returns:
        In the order of ``options``.

    Raises:
        InputError: an option that is empty or longer than the model can read, or no lm_eval.
    """
    require_harness()
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every model that is already in memory
    reduced = next(decoder.model.parameters()).dtype == torch.bfloat16
    harness = HFLM(
        decoder.model,
        backend="causal",
        tokenizer=decoder.tokenizer,
        max_length=decoder.max_length,
        batch_size=batch_size,
        softmax_dtype="float32",
        mixed_precision_dtype="bfloat16" if reduced else None,  # the harness switches off an autocast around it
    )
    lengths = [_lengths(harness, option) for option in options]
    sums: list[float] = []
    for first in range(0, len(options), BATCHES_PER_CALL * batch_size):
        chosen = options[first : first + BATCHES_PER_CALL * batch_size]
        requests = [Instance("loglikelihood", {}, _pair(option), index) for index, option in enumerate(chosen)]
        with precision.arithmetic(decoder.model):
            sums += [total for total, _ in harness.loglikelihood(requests, disable_tqdm=True)]
        progress(len(sums), len(options))
    return [
        Score(total, tokens, option.characters, cut)
        for total, (tokens, cut), option in zip(sums, lengths, options, strict=True)
    ]


def _pair(option: Option) -> tuple[str, str]:
    """Context and continuation; the white space between them begins the continuation."""
    context = option.context.rstrip()
    return context, option.context[len(context) :] + option.continuation


def _lengths(harness: Any, option: Option) -> tuple[int, int]:
    """Return the number of tokens that the harness scores, and of those that do not fit before them."""
    context, continuation = _pair(option)
    if context:
        before, total = len(harness.tok_encode(context)), len(harness.tok_encode(context + continuation))
    else:  # a beginning-of-text token precedes an option without context
        tokens = harness.tok_encode(continuation, add_special_tokens=False)
        before, total = 1, len(tokens) + (tokens[:1] != [harness.prefix_token_id])
    if not 1 <= total - before <= harness.max_length:
        raise InputError(
            key=f"option {continuation[:60]!r}", got=total - before, expected=f"1 to {harness.max_length} tokens"
        )
    return total - before, max(0, total - 1 - harness.max_length)


def best(scores: Sequence[Score], normalisation: Normalisation) -> int:
    """Return the index of the highest score, the first of equals.

    Example:
        >>> best([Score(-4.0, 1, 2), Score(-5.0, 5, 20)], "sum"), best([Score(-4.0, 1, 2), Score(-5.0, 5, 20)], "token")
        (0, 1)
    """
    values = [score.by(normalisation) for score in scores]
    return values.index(max(values))
