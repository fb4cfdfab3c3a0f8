"""Run claims in this process or in parallel; an error in one costs no other its result."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from theory.verification.claim import Outcome, run
from theory.verification.registry import load


@dataclass(frozen=True)
class Failure:
    """A claim whose check or control raised instead of deciding."""

    id: str
    seed: int
    error: str
    traceback: str

    @property
    def passed(self) -> bool:
        """Return False: an error is no verdict."""
        return False

    def as_record(self) -> dict[str, Any]:
        """Return the fields of an outcome's record, undecided; those of the claim's file are empty."""
        texts = dict.fromkeys(("source", "convention", "kind", "direction", "statement", "where", "expected"), "")
        return {
            "id": self.id,
            **texts,
            "measured": None,
            "predicted": None,
            "verdict": "not run",
            "control_verdict": "not run",
            "contrast_verdict": None,
            "instances": 0,
            "seed": self.seed,
            "seconds": 0.0,
            "error": self.error,
        }


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least one.

    Example:
        >>> usable_cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_all(
    names: Sequence[str], seed: int, jobs: int, done: Callable[[str], None] = lambda name: None
) -> list[Outcome | Failure]:
    """Check claims, ``jobs`` at a time.

    Args:
        names: ids of claims, all different.
        seed: of all their randomness; a claim's streams carry its id, so they do not depend on which others run.
        jobs: how many processes, at least 1; with one job or one claim this process does the work.
        done: called with a claim's name as it ends.

    Returns:
        The outcomes in the order of the names, whatever the number of jobs.

    Example:
        >>> [outcome.passed for outcome in check_all(["communication-halved"], 0, jobs=1)]
        [True]
    """
    outcomes: dict[str, Outcome | Failure] = {}

    def finish(name: str, outcome: Outcome | Failure) -> None:
        outcomes[name] = outcome
        done(name)

    if jobs == 1 or len(names) <= 1:
        for name in names:
            finish(name, _work(name, seed))
    else:
        _check_in_parallel(names, seed, min(jobs, len(names)), finish)
    return [outcomes[name] for name in names]


def _check_in_parallel(
    names: Sequence[str], seed: int, jobs: int, finish: Callable[[str, Outcome | Failure], None]
) -> None:
    # Spawned processes share nothing, so a claim has the same numbers alone and in parallel.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_leave_interrupts_to_the_parent)
    try:
        with _interrupts_held():
            futures = {pool.submit(_work, name, seed): name for name in names}
        for future in as_completed(futures):
            finish(futures[future], _collect(future, futures[future], seed))
    except BaseException:
        # Whatever ended this one must not wait for the others.
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(future: Future[Outcome | Failure], name: str, seed: int) -> Outcome | Failure:
    try:
        return future.result()
    except Exception as error:  # the worker itself ended: killed for memory, or crashed in compiled code
        return _failure(name, seed, error)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    # A worker inherits this while it is started: one that is interrupted half-way through its imports would print a
    # traceback. An interrupt of the parent waits for the end of the block.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(name: str, seed: int) -> Outcome | Failure:
    try:
        return run(load(name), seed)
    except Exception as error:
        return _failure(name, seed, error)


def _failure(name: str, seed: int, error: Exception) -> Failure:
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    return Failure(name, seed, text, "".join(traceback.format_exception(error)))
