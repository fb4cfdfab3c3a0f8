"""The log-likelihood of options, batched.

**Which tokens are the option's.** A blank that separates context and option belongs to the option. Context + option is encoded
as one text, as the model would read it; the option's tokens are all those after the longest common beginning with the encoded
context alone. Where the tokenizer keeps the border, these are exactly the tokens of the option, and the rule is that of
lm-evaluation-harness 0.4.13; where it merges across the border, the merged token is counted for the option, so no character
of the option goes unscored.

**How.** log p(option | context) is the sum over these tokens of the log-softmax of the logits before each, in float32, added in
float64. Texts are padded on the right, where a causal model cannot look. The last token of a text is never an input, so
options that differ in it alone (A, B, C, D; answer1, answer2) share one row. A text that is too long loses tokens at its
beginning, and that is counted.

Three accuracies follow: the likeliest option by the sum, by the sum over characters, by the sum over tokens.
"""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int

from rolora.errors import InputError
from rolora.evaluation.benchmarks.benchmark import Normalisation, Option
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.models import precision

Told = Callable[[int], None]


@dataclass(frozen=True)
class Score:
    """log p(option | context) in nats, over this many tokens and characters; ``cut``: tokens lost of the context."""

    log_likelihood: float
    tokens: int
    characters: int
    cut: int = 0

    def by(self, normalisation: Normalisation) -> float:
        """What options are compared by.

        Example:
            >>> Score(-6.0, 2, 12).by("character")
            -0.5
        """
        return (
            self.log_likelihood / {"sum": 1, "token": self.tokens, "character": max(self.characters, 1)}[normalisation]
        )


@dataclass(frozen=True)
class Encoded:
    """A text as tokens, of which those from ``start`` on are the option's; ``cut`` were taken off its beginning."""

    tokens: tuple[int, ...]
    start: int
    cut: int


def encode(decoder: Decoder, option: Option) -> Encoded:
    """Context and option as one text, and where the option begins.

    Raises:
        InputError: an option that is empty or longer than the model can read.
    """
    context = option.context.rstrip(" ")
    continuation = option.context[len(context) :] + option.continuation
    alone, whole = decoder.encode(context), decoder.encode(context + continuation)
    start = 0
    while start < min(len(alone), len(whole)) and alone[start] == whole[start]:
        start += 1
    if start == 0:  # nothing stands before the option: a first token gives the model something to go on from
        whole, start = [decoder.first_token, *whole], 1
    cut = max(0, len(whole) - 1 - decoder.max_length)
    if start == len(whole) or start - cut < 1:
        raise InputError(
            f"got an option of {len(whole) - start} tokens, expected 1 to {decoder.max_length}: {option.continuation[:60]!r}"
        )
    return Encoded(tuple(whole[cut:]), start - cut, cut)


def log_likelihoods(
    decoder: Decoder, options: Sequence[Option], batch_size: int, done: Told | None = None
) -> list[Score]:
    """The score of each option given its context.

    Args:
        decoder: the model.
        options: to score.
        batch_size: texts at a time; another one changes scores by rounding.
        done: told how many options each batch has scored.

    Returns:
        In the order of ``options``.
    """
    encoded = [encode(decoder, option) for option in options]
    members: dict[tuple[int, ...], list[int]] = {}
    for index, one in enumerate(encoded):
        members.setdefault(one.tokens[:-1], []).append(index)
    # The longest first: what does not fit into memory fails at once. Ties keep their order, so batches are always the same.
    inputs = sorted(members, key=len, reverse=True)
    sums = [0.0] * len(options)
    for first in range(0, len(inputs), batch_size):
        batch = inputs[first : first + batch_size]
        spans = {index: range(encoded[index].start - 1, len(text)) for text in batch for index in members[text]}
        positions = sorted(set().union(*spans.values()))
        logits = _logits(decoder, batch, positions)
        for row, text in enumerate(batch):
            for index in members[text]:
                places = [bisect_left(positions, position) for position in spans[index]]
                before = logits[row, places].float().log_softmax(dim=-1)
                wanted = torch.tensor(encoded[index].tokens[encoded[index].start :], device=before.device)
                sums[index] = float(before.gather(1, wanted[:, None]).double().sum())
        if done is not None:
            done(sum(len(members[text]) for text in batch))
    return [
        Score(total, len(one.tokens) - one.start, option.characters, one.cut)
        for total, one, option in zip(sums, encoded, options, strict=True)
    ]


@torch.no_grad()
def _logits(decoder: Decoder, batch: Sequence[tuple[int, ...]], positions: Sequence[int]) -> torch.Tensor:
    """Logits of a batch padded on the right, (batch, positions, vocabulary), at these positions alone."""
    # No mask: what is on the right of a causal model's token is not seen, and without one attention takes its fast path.
    tokens, _ = pad(batch, decoder.pad_token, decoder.device, left=False)
    wanted = torch.tensor(positions, device=decoder.device)
    # The vocabulary is the widest matrix of a small model: a long prompt is not multiplied with it.
    few = {"logits_to_keep": wanted} if _can_keep_few(decoder.model) else {}
    with precision.arithmetic(decoder.model):
        logits = decoder.model(input_ids=tokens, use_cache=False, **few).logits
    return logits if few else logits[:, wanted]


def _can_keep_few(model: torch.nn.Module) -> bool:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(inner.forward).parameters


def pad(
    texts: Sequence[Sequence[int]], token: int, device: torch.device, *, left: bool
) -> tuple[Int[torch.Tensor, "batch length"], Int[torch.Tensor, "batch length"]]:
    """Tokens and mask of a batch, padded on one side to its longest text."""
    length = max(map(len, texts))
    tokens = torch.full((len(texts), length), token, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, text in enumerate(texts):
        place = slice(length - len(text), length) if left else slice(0, len(text))
        tokens[row, place] = torch.tensor(text, dtype=torch.long)
        mask[row, place] = 1
    return tokens.to(device), mask.to(device)


def best(scores: Sequence[Score], normalisation: Normalisation) -> int:
    """The option with the highest score; the first of equals.

    Example:
        >>> best([Score(-4.0, 1, 2), Score(-5.0, 5, 20)], "sum"), best([Score(-4.0, 1, 2), Score(-5.0, 5, 20)], "token")
        (0, 1)
    """
    values = [score.by(normalisation) for score in scores]
    return values.index(max(values))
