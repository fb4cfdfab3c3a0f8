"""The laws of aggregation, each tried on cases of growing size until one fails.

With the ideal update :math:`D = \\sum_i p_i \\Delta W_i`, on effective weights through PEFT's own forward pass:

1. One client, or identical clients: the result is D.
2. Permuting the clients with their weights changes nothing.
3. Exactness at one rank, square scale and equal weights apart: D, or D less what the method says it misses.
4. Exactness with lora_alpha / r of any size, rank-stabilised, unequal weights, mixed ranks, float32 and bfloat16; the
   head is the weighted mean.
5. A factor that is not trained in the round keeps its bits.
6. One change of basis of the rank, common to all, changes nothing.
11. An update with a wrong shape, with NaN or infinity, or with a missing tensor is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch

from rolora.conformance.probe import MODULES, Adapter, Aggregated, Case, Probe
from rolora.conformance.subjects import Subject
from rolora.errors import InputError

Effective = dict[str, torch.Tensor]

ROUNDING = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7}
"""The spacing at 1. Errors are compared with it times the operations in a row and the size of what is summed."""


@dataclass(frozen=True)
class Finding:
    """Finding of one law.

    Args:
        law: its number.
        verdict: "pass"; "fail"; "exception", declared and holding in the form declared; or "not applicable".
        words: the smallest counterexample, or the reason.
    """

    law: int
    verdict: str
    words: str = ""


class Broken(Exception):
    """A law does not hold in a case; the text says how."""


def examine(subject: Subject, laws: list[int] | None = None, seeds: int = 2) -> list[Finding]:
    """Try the laws on a subject.

    Args:
        subject: an aggregator.
        laws: their numbers; all of them if left out.
        seeds: how many draws of tensors of every case.

    Returns:
        One finding a law.
    """
    return [_try(subject, number, seeds) for number in laws or LAWS]


def _try(subject: Subject, number: int, seeds: int) -> Finding:
    law = LAWS[number]
    reason = subject.exceptions.get(number, "")
    tried = 0
    for case in law.cases(seeds):
        if (len(set(case.ranks)) > 1 and subject.mixed_ranks) or len(case.ranks) > subject.most_clients:
            continue
        if case.dtype not in subject.dtypes:
            continue
        tried += 1
        try:
            law.check(subject, replace(case, working=subject.working))
        except Broken as broken:
            if reason:
                return Finding(number, "exception", reason)
            return Finding(number, "fail", f"{case.words()}: {broken}")
        except InputError:
            raise
        except Exception as error:  # a foreign aggregator may raise anything; that is its counterexample
            text = str(error).splitlines()[0] if str(error) else ""
            return Finding(number, "fail", f"{case.words()}: it raises {type(error).__name__}: {text}")
    if not tried:
        return Finding(number, "not applicable", "needs more than one client")
    if reason:
        return Finding(number, "fail", f"declared as an exception ({reason}), but it holds: withdraw the declaration")
    refused = f"; mixed ranks refused: {subject.mixed_ranks}" if number == 4 and subject.mixed_ranks else ""
    declared = f"misses by the {subject.exactness}" if number in (3, 4) and subject.exactness in MISSES else ""
    return Finding(number, "pass", (declared + refused).removeprefix("; "))


# What is compared.


def _after(subject: Subject, probe: Probe, clients: list[Adapter], case: Case) -> Effective:
    result = subject.aggregate(clients, list(case.weights), probe.server, case.t)
    if not isinstance(result, Aggregated):
        raise Broken(f"it returns {type(result).__name__}, expected Aggregated")
    return probe.effective(result.adapter, result.backbone)


def _clients(subject: Subject, probe: Probe) -> list[Adapter]:
    trained = subject.trained(probe.case.t)
    return [probe.client(index, trained) for index in range(len(probe.case.ranks))]


def _ideal(probe: Probe, clients: list[Adapter]) -> Effective:
    found = [probe.effective(client) for client in clients]
    return {
        name: sum(p * one[name] for p, one in zip(probe.case.shares, found, strict=True)) for name in (*MODULES, "head")
    }


def _differ(found: Effective, wanted: Effective, case: Case, what: str, factor: float = 1.0) -> None:
    for name in wanted:
        size = float(wanted[name].abs().max()) + 1.0
        error = float((found[name] - wanted[name]).abs().max())
        allowed = 64 * len(case.ranks) * case.rank * max(ROUNDING[case.dtype], ROUNDING[case.working]) * size * factor
        if not error <= allowed:
            raise Broken(f"{name}: {what} by {error:.3g}, rounding explains {allowed:.1g}")


def _factors(adapter: Adapter, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = (adapter.state[f"base_model.model.{name}.lora_{factor}.weight"].double() for factor in "AB")
    return a.T, b.T


def interference(probe: Probe, clients: list[Adapter]) -> Effective:
    """The mean of the products of deviations, scaled: what averaging the factors apart misses."""
    missed = {}
    for name in MODULES:
        pairs = [_factors(client, name) for client in clients]
        mean_a, mean_b = (sum(p * pair[i] for p, pair in zip(probe.case.shares, pairs, strict=True)) for i in (0, 1))
        products = [(a - mean_a) @ (b - mean_b) for a, b in pairs]
        missed[name] = clients[0].scale * sum(p * one for p, one in zip(probe.case.shares, products, strict=True))
    return missed


def tail(probe: Probe, clients: list[Adapter]) -> Effective:
    """Return the error of the best approximation at the server's rank."""
    missed = {}
    ideal = _ideal(probe, clients)
    for name in MODULES:
        left, singular, right = torch.linalg.svd(ideal[name], full_matrices=False)
        rest = slice(probe.case.rank, None)
        missed[name] = left[:, rest] * singular[rest] @ right[rest]
    return missed


MISSES: dict[str, Callable[[Probe, list[Adapter]], Effective]] = {"interference": interference, "tail": tail}
"""Deviations that a method may declare, by name."""


# The laws.


def one_client_or_identical(subject: Subject, case: Case) -> None:
    """Law 1."""
    probe = Probe(case)
    client = probe.client(0, subject.trained(case.t))
    clients = [client] * len(case.ranks)
    _differ(_after(subject, probe, clients, case), probe.effective(client), case, "differs from the one update")


def permutation(subject: Subject, case: Case) -> None:
    """Law 2."""
    probe = Probe(case)
    clients = _clients(subject, probe)
    order = [*range(1, len(clients)), 0]
    turned = replace(case, weights=tuple(case.weights[i] for i in order), ranks=tuple(case.ranks[i] for i in order))
    straight = _after(subject, probe, clients, case)
    _differ(_after(subject, probe, [clients[i] for i in order], turned), straight, case, "another order changes it")


def exactness(subject: Subject, case: Case) -> None:
    """Laws 3 and 4."""
    probe = Probe(case)
    clients = _clients(subject, probe)
    ideal = _ideal(probe, clients)
    found = _after(subject, probe, clients, case)
    condition = 1.0
    if subject.exactness in MISSES:
        missed = MISSES[subject.exactness](probe, clients)
        if subject.exactness == "tail":
            condition = _truncation_condition(ideal, probe.case.rank)
        ideal = ideal | {name: ideal[name] - missed[name] for name in MODULES}
    head = {"head": ideal["head"]}
    _differ(found, head, case, "is not the weighted mean")
    updates = {name: ideal[name] for name in MODULES}
    if subject.exactness != "exact" and subject.exactness not in MISSES:
        _differ(found, updates, case, subject.exactness)
    what = "misses the mean update" if subject.exactness == "exact" else f"misses not the {subject.exactness} alone,"
    _differ(found, updates, case, what, condition)


def _truncation_condition(ideal: Effective, rank: int) -> float:
    """Return the factor by which a truncated decomposition may magnify rounding: the inverse of the relative gap at the rank."""
    worst = 1.0
    for name in MODULES:
        singular = torch.linalg.svdvals(ideal[name])
        if len(singular) > rank:
            worst = max(worst, float(1 + 2 * singular[0] / (singular[rank - 1] - singular[rank])))
    return worst


def frozen_keeps_its_bits(subject: Subject, case: Case) -> None:
    """Law 5."""
    probe = Probe(case)
    result = subject.aggregate(_clients(subject, probe), list(case.weights), probe.server, case.t)
    trained = subject.trained(case.t)
    for name, tensor in probe.server.state.items():
        for factor in "AB":
            if (
                f"lora_{factor}" in name
                and factor not in trained
                and not torch.equal(result.adapter.state[name], tensor)
            ):
                raise Broken(f"{name} is frozen in this round and has changed")


def common_gauge(subject: Subject, case: Case) -> None:
    """Law 6."""
    probe = Probe(case)
    turn = torch.from_numpy(probe.key.fold("gauge").generator().standard_normal((case.rank, case.rank)))
    condition = float(torch.linalg.cond(turn))
    plain = _after(subject, probe, _clients(subject, probe), case)
    turned_probe = Probe(case)
    turned_probe.server = _turned(probe.server, turn)
    clients = [_turned(client, turn) for client in _clients(subject, probe)]
    found = _after(subject, turned_probe, clients, case)
    if subject.exactness == "tail":
        condition *= _truncation_condition(_ideal(probe, _clients(subject, probe)), case.rank)
    _differ(found, {name: plain[name] for name in MODULES}, case, "a common change of basis changes it", condition)


def _turned(adapter: Adapter, turn: torch.Tensor) -> Adapter:
    inverse = torch.linalg.inv(turn)
    state = {}
    for name, tensor in adapter.state.items():
        if "lora_A" in name:  # (r, in): the rows of A^T
            tensor = (turn.T @ tensor.double()).to(tensor.dtype)
        elif "lora_B" in name:  # (out, r)
            tensor = (tensor.double() @ inverse.T).to(tensor.dtype)
        state[name] = tensor
    return replace(adapter, state=state)


def malformed_is_refused(subject: Subject, case: Case) -> None:
    """Law 11."""
    probe = Probe(case)
    good = _clients(subject, probe)
    factor = sorted(subject.trained(case.t))[-1]
    key = f"base_model.model.linear.lora_{factor}.weight"

    def broken(kind: str) -> dict[str, torch.Tensor]:
        state = dict(good[-1].state)
        if kind == "NaN":
            state[key] = state[key] * torch.nan
        elif kind == "infinity":
            state[key] = state[key] / 0.0
        elif kind == "wrong shape":
            state[key] = torch.cat([state[key], state[key]], dim=1)
        else:
            del state[key]
        return state

    for kind in ("NaN", "infinity", "wrong shape", "missing tensor"):
        bad = [*good[:-1], replace(good[-1], state=broken(kind))]
        try:
            subject.aggregate(bad, list(case.weights), probe.server, case.t)
        except Exception:  # any refusal will do; ours are one line that names the client
            continue
        raise Broken(f"an update of the last client with {kind} in {key} is aggregated")


# In which cases.


def _plain(seeds: int) -> Iterator[Case]:
    for count, rank, t, seed in product((1, 2, 3), (1, 2), (0, 1), range(seeds)):
        yield Case(ranks=(rank,) * count, weights=(1.0,) * count, alpha=float(rank), t=t, seed=seed)


def _weighted(seeds: int) -> Iterator[Case]:
    for rank, t, seed in product((1, 2), (0, 1), range(seeds)):
        yield Case(ranks=(rank,) * 3, weights=(10.0, 20.0, 70.0), alpha=4.0 * rank, t=t, seed=seed)


def _hard(seeds: int) -> Iterator[Case]:
    yield from _weighted(seeds)
    for dtype, stabilised, t, seed in product(ROUNDING, (False, True), (0, 1), range(seeds)):
        yield Case(alpha=8.0, rank_stabilised=stabilised, dtype=dtype, t=t, seed=seed)
    for stabilised, t, seed in product((False, True), (0, 1), range(seeds)):
        yield Case(ranks=(1, 2, 3), alpha=12.0, rank_stabilised=stabilised, t=t, seed=seed)


def _one_rank(seeds: int) -> Iterator[Case]:
    yield from _weighted(seeds)


def _single(seeds: int) -> Iterator[Case]:
    for count, t in product((1, 3), (0, 1)):
        yield Case(ranks=(2,) * count, weights=(10.0, 20.0, 70.0)[:count], t=t)


@dataclass(frozen=True)
class Law:
    """A law with its words and its cases, the smallest first."""

    words: str
    check: Callable[[Subject, Case], None]
    cases: Callable[[int], Iterator[Case]]


LAWS: dict[int, Law] = {
    1: Law("one client, or identical clients", one_client_or_identical, _plain),
    2: Law("order of clients", permutation, _weighted),
    3: Law("exactness", exactness, _plain),
    4: Law("exactness: scale, weights, ranks, precision", exactness, _hard),
    5: Law("frozen factor keeps its bits", frozen_keeps_its_bits, _weighted),
    6: Law("common change of basis", common_gauge, _one_rank),
    11: Law("malformed update refused", malformed_is_refused, _single),
}
"""The laws that an aggregator alone can be held to; those of an engine are in ``rolora.conformance.engines``."""
