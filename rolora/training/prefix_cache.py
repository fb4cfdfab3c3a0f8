"""Hidden states below the lowest adapted layer, computed once per example and used in every step and every round.

Equal to computing them anew up to rounding, and bit-equal where a batch has the shape of the batch they were computed in:
matrix products of other shapes round differently. Evaluation has the shapes of the filling.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from peft import PeftModel

from rolora.errors import InputError
from rolora.training.examples import Examples, by_length
from rolora.training.frozen_layers import LowerLayers, Refused

DISK_FACTOR = 8
"""On disk at most this many times the bound of memory."""

ROUNDINGS = 16
"""A layer rounds about this many times on the way of a hidden state: four or so matrix products, softmax, two
normalisations, two residual sums, an activation. Recomputing in another shape may change each of them."""

SAMPLE = 8
"""Examples that are recomputed one by one after filling."""


class Prefix:
    """The hidden states of all tokens of some examples, without padding, in one array (tokens of all examples, width)."""

    def __init__(
        self,
        model: PeftModel,
        sources: Sequence[Examples],
        batch_size: int,
        bound: int,
        folder: Path | None = None,
    ) -> None:
        """Compute and keep them; a sample is computed twice and compared.

        Args:
            model: with PEFT's adapter in upper layers; left in evaluation mode.
            sources: all that the model will be given; of equal ones only one is kept.
            batch_size: examples computed together, in the order and shape in which they are evaluated.
            bound: bytes that may be taken of memory, the device's where it has room; beyond it they go to disk.
            folder: for a file on disk, which has no name once it is open and is gone when the process ends, however it
                ends; none is written if None.

        Raises:
            Refused: they cannot be kept, or would not be exact.
            InputError: what was computed twice differs by more than rounding.
        """
        weight = next(model.parameters())
        self.device = weight.device
        model.eval()
        example, _ = sources[0].batch(by_length(sources[0])[:1], self.device)
        self.lower = LowerLayers(model, example)
        self.sources = list(sources)  # alive for as long as their ids are used
        self._places = _places(sources)
        kept = list({id(source): source for source, _, _ in self._places.values()}.values())
        like = self.lower.hidden_states(example)
        shape = (sum(int(self._places[id(source)][2].sum()) for source in kept), like.shape[-1])
        self.bytes = shape[0] * shape[1] * like.element_size()
        self.place, self.states = _allocate(shape, like, self.bytes, bound, folder)
        self.examples = sum(len(source) for source in kept)
        self.rounding = max(torch.finfo(kind).eps for kind in (like.dtype, weight.dtype))
        self.largest_difference = 0.0
        for source in kept:
            self._fill(source, batch_size)
            self._check(source)

    def _fill(self, source: Examples, batch_size: int) -> None:
        _, starts, lengths = self._places[id(source)]
        order = by_length(source)
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            hidden = self.lower.hidden_states(source.batch(chosen, self.device)[0])
            real = np.arange(hidden.shape[1]) < lengths[chosen][:, None]
            places = (starts[chosen][:, None] + np.arange(hidden.shape[1]))[real]
            text = hidden[torch.from_numpy(real).to(self.device)].to(self.states.device)
            self.states.index_copy_(0, torch.from_numpy(places).to(self.states.device), text)

    def _check(self, source: Examples) -> None:
        """Compute a sample again, one by one, and look whether the rest of the model takes it as its own."""
        order = by_length(source)
        sample = order[np.unique(np.linspace(0, len(order) - 1, min(SAMPLE, len(order))).astype(int))]
        self.lower.check_above(source.batch(sample, self.device)[0])
        for index in sample:
            inputs, _ = source.batch(np.array([index]), self.device)
            kept = self._gather([(source, int(index))], inputs["input_ids"].shape[1])
            difference = furthest(kept, self.lower.hidden_states(inputs))
            self.largest_difference = max(self.largest_difference, difference)
        allowed = ROUNDINGS * self.lower.lowest * self.rounding
        if not self.largest_difference <= allowed:
            raise InputError(
                f"runtime.prefix_cache: hidden states computed twice differ by {self.largest_difference:.1e} of their "
                f"length, expected at most {allowed:.1e} ({ROUNDINGS} roundings a layer); leave it out"
            )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within it the model computes nothing below its lowest adapted layer; each pass needs :meth:`next_batch`."""
        with self.lower.skipped():
            yield

    def next_batch(self, texts: Sequence[tuple[Examples, int]], tokens: int) -> None:
        """Announce the rows of the next forward pass.

        Args:
            texts: (source, index) of each row, as for ``rolora.training.examples.pad``.
            tokens: what they are padded to.
        """
        self.lower.waiting = self._gather(texts, tokens)

    def _gather(self, texts: Sequence[tuple[Examples, int]], tokens: int) -> Float[torch.Tensor, "rows {tokens} width"]:
        places = self._indices(texts, tokens)
        if self.states.device == self.device:
            return self.states[torch.from_numpy(places).to(self.device)]
        chosen = self.states[torch.from_numpy(places)]
        return chosen.pin_memory().to(self.device, non_blocking=True)

    def _indices(self, texts: Sequence[tuple[Examples, int]], tokens: int) -> Int[np.ndarray, "rows {tokens}"]:
        rows = [(self._places[id(source)], index) for source, index in texts]
        starts = np.array([starts[index] for (_, starts, _), index in rows])
        lengths = np.array([lengths[index] for (_, _, lengths), index in rows])
        if lengths.max() > tokens:
            raise ValueError(f"a batch of {tokens} tokens, expected at least {lengths.max()}, its longest text")
        # Beyond its end a text repeats its last token: masked like any padding, and finite.
        return starts[:, None] + np.minimum(np.arange(tokens), lengths[:, None] - 1)

    def describe(self) -> dict[str, Any]:
        """For the record: what is kept, where, and how far a sample of it was from being computed again."""
        return {
            "layers_below": self.lower.lowest,
            "examples": self.examples,
            "bytes": self.bytes,
            "place": self.place,
            "largest_difference": self.largest_difference,
        }


def furthest(one: Float[torch.Tensor, "rows tokens width"], other: Float[torch.Tensor, "rows tokens width"]) -> float:
    """The largest distance of two tokens' hidden states over the length of the second."""
    one, other = (states.to(torch.promote_types(states.dtype, torch.float32)) for states in (one, other))
    return float(((one - other).norm(dim=-1) / other.norm(dim=-1)).max())


def _places(sources: Sequence[Examples]) -> Mapping[int, tuple[Examples, np.ndarray, np.ndarray]]:
    """id of a source -> the source whose states stand for it, where each text starts, and its number of tokens."""
    places: dict[int, tuple[Examples, np.ndarray, np.ndarray]] = {}
    end = 0
    for source in sources:
        same = next((place for place in places.values() if place[0].fields == source.fields), None)
        if same is not None:
            places[id(source)] = same
            continue
        lengths = np.array([len(row) for row in source.fields["input_ids"]])
        starts = end + np.concatenate([[0], np.cumsum(lengths)[:-1]])
        end += int(lengths.sum())
        places[id(source)] = (source, starts, lengths)
    return places


def _allocate(
    shape: tuple[int, int], like: torch.Tensor, size: int, bound: int, folder: Path | None
) -> tuple[str, Float[torch.Tensor, "tokens width"]]:
    """Room for the states, and where it is: the device, the host's memory, or a file on disk."""
    if size <= bound:
        if like.device.type == "cuda" and size > torch.cuda.mem_get_info(like.device)[0] // 2:
            return "host memory", torch.empty(shape, dtype=like.dtype)
        return f"{like.device.type} memory", torch.empty(shape, dtype=like.dtype, device=like.device)
    limit = DISK_FACTOR * bound if folder is not None else bound
    if folder is None or size > limit:
        raise Refused(f"{size:,} bytes of hidden states, at most {limit:,} are allowed; see runtime.prefix_cache_bytes")
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="hidden-states-", dir=folder)
    try:
        _reserve(handle, size, folder)
        states = torch.from_file(name, shared=True, size=shape[0] * shape[1], dtype=like.dtype)
    finally:
        os.close(handle)
        Path(name).unlink()
    return "disk", states.view(shape)


def _reserve(handle: int, size: int, folder: Path) -> None:
    """Take the room on disk now: a mapped file that meets a full disk later ends the process without a word."""
    full = Refused(f"{size:,} bytes of hidden states, there is no such room on the disk of {folder}")
    if shutil.disk_usage(folder).free < size:
        raise full
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError:
            raise full from None
