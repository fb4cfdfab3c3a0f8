"""Greedy generation, batched, up to a stop text.

transformers' own ``generate`` does the work, with prompts padded on the left and positions counted from the first real token.
The settings that come with a model (temperature, samples) are not used. A batch changes logits by rounding, so where two tokens
are equally likely to the last bits, another batch size may go another way; the same batch size does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from rolora.errors import InputError
from rolora.evaluation.benchmarks.decoder import Decoder
from rolora.evaluation.benchmarks.likelihood import Progress
from rolora.models import precision


class _Stop(StoppingCriteria):
    """Stop a row at the first of the stop texts in its continuation."""

    def __init__(self, decoder: Decoder, prompt_length: int, texts: Sequence[str]) -> None:
        self.decoder, self.prompt_length, self.texts = decoder, prompt_length, texts

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        written = input_ids[:, self.prompt_length :]
        stopped = [any(text in self.decoder.tokenizer.decode(row) for text in self.texts) for row in written]
        return torch.tensor(stopped, device=input_ids.device)


@torch.no_grad()
def generate(
    decoder: Decoder,
    prompts: Sequence[str],
    stop: Sequence[str],
    max_new_tokens: int,
    batch_size: int,
    progress: Progress = lambda completed, total: None,
) -> list[str]:
    """Return the continuation of each prompt, without the stop text and all after it.

    Raises:
        InputError: a model that cannot hold ``max_new_tokens`` more. A prompt that is too long loses its beginning.
    """
    room = decoder.max_length - max_new_tokens
    if room < 1:
        raise InputError(
            key="--max-new-tokens", got=max_new_tokens, expected=f"fewer than the model's {decoder.max_length}"
        )
    encoded = [decoder.encode(prompt)[-room:] for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]), reverse=True)
    texts = [""] * len(prompts)
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        rows = [encoded[index] for index in chosen]
        tokens = _left_padded(rows, decoder.pad_token).to(decoder.device)
        mask = _left_padded([[1] * len(row) for row in rows], 0).to(decoder.device)
        with precision.arithmetic(decoder.model):
            written = decoder.model.generate(
                input_ids=tokens,
                attention_mask=mask,
                generation_config=_greedy(decoder, max_new_tokens),
                stopping_criteria=StoppingCriteriaList([_Stop(decoder, tokens.shape[1], stop)] if stop else []),
            )
        for index, row in zip(chosen, written[:, tokens.shape[1] :].tolist(), strict=True):
            texts[index] = cut(decoder.tokenizer.decode(_before_end(row, decoder), skip_special_tokens=True), stop)
        progress(min(first + batch_size, len(order)), len(order))
    return texts


def _left_padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value, padding_side="left")


def _ends(decoder: Decoder) -> list[int]:
    """Return the tokens that end a text, the model's and the tokenizer's."""
    own = getattr(decoder.model.generation_config, "eos_token_id", None)
    tokens = own if isinstance(own, list) else [own]
    return sorted({token for token in (*tokens, decoder.tokenizer.eos_token_id) if token is not None})


def _greedy(decoder: Decoder, max_new_tokens: int) -> GenerationConfig:
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        pad_token_id=decoder.pad_token,
        eos_token_id=_ends(decoder) or None,
        bos_token_id=decoder.tokenizer.bos_token_id,
    )


def _before_end(row: list[int], decoder: Decoder) -> list[int]:
    ends = [row.index(token) for token in _ends(decoder) if token in row]
    return row[: min(ends)] if ends else row


def cut(text: str, stop: Sequence[str]) -> str:
    """Return a text up to the first of the stop texts.

    Example:
        >>> cut("#### 18\\nQuestion: and", ["Question:", "</s>"])
        '#### 18\\n'
    """
    places = [text.find(mark) for mark in stop if mark in text]
    return text[: min(places)] if places else text
