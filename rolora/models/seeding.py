"""The torch side of ``rolora.keys``: a named stream for code that draws from torch's own generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rolora.keys import Key


@contextmanager
def named_stream(key: Key, device: torch.device) -> Iterator[None]:
    """Let code that has no generator argument (dropout, a library's initialiser) draw from the stream of ``key``.

    The generator's state is put back afterwards, so nothing outside can notice, and nothing outside can be noticed.
    """
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.random.default_generator.manual_seed(key.integer())
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(key.integer())
        yield
