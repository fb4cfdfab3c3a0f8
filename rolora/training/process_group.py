"""Process group of a multi-process run: initialisation, collectives, orderly shutdown.

They are started from outside, with the usual variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT)::

    torchrun --nproc-per-node 2 -m rolora run CONFIG

Tensors are exchanged, never pickled objects: over NCCL between GPUs, over gloo between CPUs and for agreements. A process that
fails ends all: the first prints the error; the others, which see its connection close or its note in the common store, end
silently.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rolora.errors import InputError

if TYPE_CHECKING:
    import torch

TIMEOUT = timedelta(hours=1)
"""Time limit for a process that hangs; one that has ended is noticed at once."""

POLL_SECONDS = 0.001
"""Interval at which a collective is polled: no call into the library blocks, so that signals are answered meanwhile."""

FAILED = "failed"
"""Key in the store: the rank of the process that failed first."""


class ProcessLost(Exception):
    """Another process of this run has ended."""


@dataclass(frozen=True)
class _Group:
    """Rank of this process, number of processes, and their common store."""

    number: int
    count: int
    notes: Any


_group: _Group | None = None  # like torch.distributed's own, of which a process has one


def asked() -> bool:
    """Return whether this process was started as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def number() -> int:
    """Return this process's rank."""
    return 0 if _group is None else _group.number


def count() -> int:
    """Return the number of processes of this run."""
    return 1 if _group is None else _group.count


def is_first() -> bool:
    """Return whether this is the process that writes, prints and evaluates: rank 0."""
    return number() == 0


def local_number() -> int:
    """Return this process's rank on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", number()))


@contextmanager
def leaving_together() -> Iterator[None]:
    """Leave the process group at the end of the context; end the process at once if the context fails.

    The destructor of a group with an exchange under way waits for the other processes, which may wait for this one. So a
    process that fails ends without it, as soon as it has printed the error.
    """
    global _group
    try:
        yield
    except BaseException as error:
        if _group is None:
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exception(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
    if _group is not None:
        import torch.distributed

        _group = None
        torch.distributed.destroy_process_group()


def join() -> None:
    """Initialise the process group, if there are several processes.

    Raises:
        InputError: the variables that name them are incomplete, or they did not come.
    """
    global _group
    if not asked() or _group is not None:
        return
    import torch
    from torch import distributed

    try:
        store, rank, size = next(distributed.rendezvous("env://", timeout=TIMEOUT))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(
            backend, store=distributed.PrefixStore("group", store), rank=rank, world_size=size, timeout=TIMEOUT
        )
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"got RANK={os.environ['RANK']} and WORLD_SIZE={os.environ['WORLD_SIZE']}, expected to meet "
            f"{os.environ['WORLD_SIZE']} processes as started by torchrun; {reason}"
        ) from None
    _group = _Group(rank, size, distributed.PrefixStore("notes", store))


def take_gpu(device: str) -> None:
    """Make each process's own GPU torch's current device, where several processes run on "cuda".

    Args:
        device: the config's ``runtime.device``.

    Raises:
        InputError: all processes would share one GPU, or this machine has none with the process's number.
    """
    if count() == 1 or not device.startswith("cuda"):
        return
    if device != "cuda":
        expected = f"'cuda' with {count()} processes: each process takes its own GPU"
        raise InputError(key="runtime.device", got=device, expected=expected)
    import torch

    try:
        torch.cuda.set_device(local_number())
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        expected = f"GPU {local_number()} on this machine; {reason}"
        raise InputError(key="runtime.device", got=device, expected=expected) from None


def should_report_failure() -> bool:
    """Return True in the first process that fails; only that one prints the error."""
    if _group is None:
        return True
    mine = str(_group.number)
    try:
        return _group.notes.compare_set(FAILED, "", mine).decode() == mine
    except RuntimeError:  # the store has gone with the process or the launcher that held it
        return True


def all_gather(buffer: torch.Tensor) -> list[torch.Tensor]:
    """The buffers of all processes, in their order.

    Args:
        buffer: one-dimensional, of the same length and dtype in every process.

    Raises:
        ProcessLost: another process has ended.
    """
    if _group is None:
        return [buffer]
    import torch
    from torch import distributed

    found = [torch.empty_like(buffer) for _ in range(_group.count)]
    try:
        work = distributed.all_gather(found, buffer, async_op=True)
        looked = time.monotonic()
        while not work.is_completed():
            time.sleep(POLL_SECONDS)
            if time.monotonic() - looked > 1.0:
                looked = time.monotonic()
                _look_for_a_note(_group)
        work.wait()
    except RuntimeError as error:
        reason = re.sub(r"^\[\S+\] ", "", " ".join(str(error).split()))[:120]
        raise ProcessLost(
            f"another of the {_group.count} processes has ended; the same command with --resume goes on; {reason}"
        ) from error
    return found


def _look_for_a_note(group: _Group) -> None:
    try:
        failed = group.notes.check([FAILED])
    except RuntimeError:  # without its launcher a run goes on for as long as the processes reach each other
        return
    if failed:
        raise ProcessLost(f"process {group.notes.get(FAILED).decode()} of {group.count} has failed")


def from_first(numbers: Sequence[float] | None, length: int) -> list[float]:
    """The numbers of the first process, bit for bit, in every process.

    Args:
        numbers: float64; those of other processes are not looked at.
        length: how many there are.
    """
    if _group is None:
        return list(numbers or ())
    import torch

    mine = torch.tensor(numbers if is_first() else [0.0] * length, dtype=torch.float64)
    return all_gather(mine)[0].tolist()


def table_from_first(table: Mapping[str, float | int] | None) -> dict[str, float | int]:
    """A flat table of numbers of the first process, names and bits, in every process.

    Args:
        table: that of the first process; those of other processes are not looked at.
    """
    if _group is None:
        return dict(table or {})
    text = json.dumps(table).encode() if is_first() else b""
    (length,) = from_first([float(len(text))], 1)
    return json.loads(bytes(int(byte) for byte in from_first([float(byte) for byte in text], int(length))))


def agree(what: str, value: bytes) -> None:
    """Wait for all processes, and let none go on if they do not see the same.

    Raises:
        InputError: ``value`` differs between processes; ``what`` names it.
    """
    if _group is None:
        return
    import torch

    digest = torch.tensor(list(hashlib.sha256(value).digest()), dtype=torch.uint8)
    for other, found in enumerate(all_gather(digest)):
        if not torch.equal(found, digest):
            raise InputError(
                f"{what}: process {_group.number} and process {other} found different ones, expected processes that are "
                "started with one command and share one folder"
            )
