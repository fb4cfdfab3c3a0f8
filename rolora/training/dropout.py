"""Dropout from named streams: a client draws the same masks wherever, and beside whomever, it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rolora.keys import Key
from rolora.models.backbone import DROPOUT_FIELDS


class NamedDropout(TorchFunctionMode):
    """Within it, every dropout of a forward pass draws from the streams of the clients whose rows it meets.

    A batch holds the rows of several clients, ``rows_per_client`` each, one client after another, padded to a common
    number of rows and tokens. A mask is drawn client by client, in the shape that the client's own batch has without the
    padding, so it does not depend on who else is in the batch. What is padded is kept. Dropout inside an attention kernel
    cannot be named, so the product is then computed step by step.
    """

    def __init__(self, keys: Sequence[Key], device: torch.device) -> None:
        """
        Args:
            keys: the stream of each client, in the order of their rows.
            device: where the masks are drawn; streams of another kind of device are other streams.
        """
        super().__init__()
        self.generators = [torch.Generator(device).manual_seed(key.integer()) for key in keys]
        self.own: list[tuple[int, int]] = []
        self.padded = (0, 0)

    def next_batch(self, own: Sequence[tuple[int, int]], padded: tuple[int, int]) -> None:
        """Announce a batch: (rows, tokens) of every client, and what each is padded to."""
        self.own, self.padded = list(own), padded

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take the place of dropout and of attention with dropout; let everything else pass."""
        kwargs = dict(kwargs or {})
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is functional.scaled_dot_product_attention and kwargs.get("dropout_p"):
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        return input * self._mask(input.shape, p, input.dtype) if training and p > 0 else input

    def _mask(self, shape: torch.Size, p: float, dtype: torch.dtype) -> torch.Tensor:
        rows, tokens = self.padded
        # (rows, tokens, width), attention's (rows, heads, tokens, tokens), a pooled (rows, width)
        ragged = {3: (1,), 4: (2, 3)}.get(len(shape), ())
        if len(self.own) == 1 and self.own[0] == self.padded:
            # One client's, without padding: also what is no row's, such as DeBERTa's relative positions.
            return self._drawn(shape, p, self.generators[0]).to(dtype)
        if shape[0] != rows * len(self.own) or any(shape[axis] != tokens for axis in ragged):
            raise NotImplementedError(f"dropout on {tuple(shape)}: rows and tokens of the clients are not found in it")
        mask = torch.ones(shape, dtype=dtype, device=self.generators[0].device)
        for index, (generator, (own_rows, own_tokens)) in enumerate(zip(self.generators, self.own, strict=True)):
            place = [slice(None)] * len(shape)
            place[0] = slice(index * rows, index * rows + own_rows)
            for axis in ragged:
                place[axis] = slice(own_tokens)
            part = mask[tuple(place)]
            part.copy_(self._drawn(part.shape, p, generator))
        return mask

    def _drawn(self, shape: torch.Size, p: float, generator: torch.Generator) -> torch.Tensor:
        """Drawn in float32 whatever the model computes in, so that precision does not choose the mask."""
        return torch.empty(shape, device=generator.device).bernoulli_(1 - p, generator=generator) / (1 - p)

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if enable_gqa:
            shared = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None:
            hidden = attn_mask.logical_not() if attn_mask.dtype == torch.bool else None
            scores = scores + attn_mask if hidden is None else scores.masked_fill(hidden, float("-inf"))
        weights = scores.softmax(dim=-1)
        return (weights * self._mask(weights.shape, dropout_p, weights.dtype)).to(value.dtype) @ value


def named_dropout(
    present: bool, keys: Sequence[Key], device: torch.device
) -> AbstractContextManager[NamedDropout | None]:
    """The context for training these clients: :class:`NamedDropout`, or None if the model has no dropout."""
    return NamedDropout(keys, device) if present else nullcontext()


def has_dropout(model: torch.nn.Module) -> bool:
    """Return whether a training pass of this model draws random numbers."""
    inside = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    return inside or any(getattr(model.config, field, None) for field in DROPOUT_FIELDS)
