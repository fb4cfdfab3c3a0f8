"""Validation before aggregation: which updates a round takes, which it refuses and why, and whether enough are left.

Every update is looked at by itself, against what its client was given: whether one client is refused does not depend on
any other, which is also what differential privacy of a client needs (``rolora.privacy.client_level``).
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np

from rolora.adapter import Array
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import accumulator
from rolora.federation.communication import PARTS, Message, nbytes
from rolora.federation.state import (
    Accepted,
    ClientUpdate,
    OpenRound,
    Refusal,
    ServerState,
    UpdateError,
    by_place,
    check_update,
    pack,
    shown,
)

if TYPE_CHECKING:
    from rolora.config import Config

__all__ = ["Acceptance", "Accepted", "Refusal", "accept", "change_norm", "phase", "received_bytes"]

MOST_LOSS = 1e100
"""The largest loss that is believed: times a weight, and summed over all clients, it is finite."""

SHOWN = 3
"""Reasons that a line names before it counts the rest."""


@dataclass(frozen=True)
class Acceptance:
    """What an update has to satisfy beside its form, and how many are enough.

    Args:
        minimum_clients: updates without which a round is not closed; all of the round's clients if None.
        round_attempts: how often a round is tried.
        norm_bound: the longest change that is accepted of everything sent, head included; none if None.
        weight: what every update weighs; any positive number if None.
        finite_loss: whether a training loss has to be a finite number; otherwise it may be nan.
        declared: what a client has to say of itself, such as the backbone's hash; nothing if empty.
        personal_travels: whether factors that clients keep come along, as in a simulation, where they are checked too.
    """

    minimum_clients: int | None = None
    round_attempts: int = 1
    norm_bound: float | None = None
    weight: float | None = None
    finite_loss: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)
    personal_travels: bool = True

    @classmethod
    def of(cls, config: Config, declared: Mapping[str, str] | None = None, personal_travels: bool = True) -> Acceptance:
        """The rules of a config; the rest as the class's own arguments."""
        federation = config.federation
        return cls(
            minimum_clients=federation.minimum_clients,
            round_attempts=federation.round_attempts,
            norm_bound=federation.update_norm_bound,
            weight=1.0 if federation.client_weights == "uniform" else None,
            finite_loss=True,
            declared=declared or {},
            personal_travels=personal_travels,
        )

    def shortage(self, opened: OpenRound, accepted: Accepted) -> str | None:
        """Why too few updates are left to close the round, in one line that names who was refused; None if enough are.

        Example:
            >>> opened = OpenRound(0, (4, 7), frozenset("B"), {}, [], [])
            >>> Acceptance().shortage(opened, Accepted((), (Refusal(4, "client 4, round 0: late"),)))
            'client 4, round 0: late; 0 of 2 updates can be used, expected at least 2'
        """
        asked = len(opened.clients)
        least = asked if self.minimum_clients is None else min(self.minimum_clients, asked)
        if len(accepted.updates) >= least:
            return None
        reasons = [refusal.reason for refusal in accepted.refused[:SHOWN]]
        if more := len(accepted.refused) - len(reasons):
            reasons.append(f"and {more} more")
        found = f"{len(accepted.updates)} of {asked} updates can be used, expected at least {least}"
        return "; ".join([*reasons, found])


def accept(
    opened: OpenRound, updates: Sequence[ClientUpdate], algorithm: Algorithm, rules: Acceptance = Acceptance()
) -> Accepted:
    """Take the updates that may be aggregated, and say of the others why not. Nothing is raised, nothing is changed.

    Args:
        opened: what ``rolora.federation.round.open_round`` gave.
        updates: what came back, in any order; some may be missing, be there twice or be of a stranger.
        algorithm: the method.
        rules: what they have to satisfy beside their form.

    Returns:
        At most one update of every client, in the order of ``opened.clients``; and the refusals, in the order in which the
        updates came, then of the clients of which nothing came.
    """
    taken: dict[int, ClientUpdate] = {}
    refused: list[Refusal] = []
    for update in updates:
        reason = _fault(opened, update, algorithm, rules, taken)
        if reason is None:
            taken[update.client] = update
        else:
            client = update.client if _is_count(update.client) else -1
            refused.append(Refusal(client, reason, received_bytes(update.message)))
    heard = {refusal.client for refusal in refused} | taken.keys()
    refused += [
        Refusal(client, f"client {client}, round {opened.t}: no update came")
        for client in opened.clients
        if client not in heard
    ]
    return Accepted(tuple(taken[client] for client in opened.clients if client in taken), tuple(refused))


def _fault(
    opened: OpenRound, update: ClientUpdate, algorithm: Algorithm, rules: Acceptance, taken: Container[int]
) -> str | None:
    """Why an update is refused, or None."""
    sender = f"client {shown(update.client)}, round {opened.t}"
    if not _is_count(update.client) or update.client not in opened.broadcasts:
        return f"{sender}: an update of a client that is not of this round"
    if update.client in taken:
        return f"{sender}: a second update"
    broadcast = opened.broadcasts[update.client]
    try:
        check_update(update, opened.t, update.client, broadcast, algorithm, personal=rules.personal_travels)
    except UpdateError as error:
        return str(error)
    return next(_further_faults(sender, opened, update, rules), None)


def _further_faults(sender: str, opened: OpenRound, update: ClientUpdate, rules: Acceptance) -> Iterator[str]:
    """What the rules find in an update of the right form."""
    expected = {"phase": phase(opened.trainable)} if "phase" in update.declared else {}
    for name, wanted in (expected | dict(rules.declared)).items():
        given = update.declared.get(name)
        if given != wanted:
            stated = "nothing" if given is None else shown(given)
            yield f"{sender}: {name} is {stated}, expected {wanted}"
    if rules.weight is not None and update.weight != rules.weight:
        yield f"{sender}: weight is {update.weight:g}, expected {rules.weight:g}"
    believed = isinstance(update.loss, Real) and abs(update.loss) <= MOST_LOSS
    if not believed and (rules.finite_loss or update.loss == update.loss):  # nan alone is not equal to itself
        yield f"{sender}: loss {shown(update.loss)} is not a finite number (of at most {MOST_LOSS:g})"
    for (part, name), array in by_place(update.message).items():
        most = largest(array)
        if _beyond(array, most):
            yield f"{sender}: {part} of {name} has a value beyond {most:.2g}, expected none whose products could overflow"
    if rules.norm_bound is not None:
        size = change_norm(update.message, opened.broadcasts[update.client])
        if not size <= rules.norm_bound:
            yield f"{sender}: the update's norm is {size:.4g}, expected at most {rules.norm_bound:g}"


def largest(array: Array) -> float:
    """The largest value that is taken: the fourth root of the largest number, of float32 for what is narrower.

    Products of two such values, summed, are finite. It matters: some decompositions never end on what is not.

    Example:
        >>> f"{largest(np.zeros(1, np.float32)):.1e}"
        '4.3e+09'
    """
    xp = array_api_compat.array_namespace(array)
    return float(xp.finfo(accumulator(array)).max) ** 0.25


def _beyond(array: Array, most: float) -> bool:
    xp = array_api_compat.array_namespace(array)
    return bool(xp.any(xp.abs(xp.astype(array, accumulator(array), copy=False)) > most))


def phase(trainable: frozenset[str]) -> str:
    """The factors that a round trains, in one word.

    Example:
        >>> phase(frozenset("BA")), phase(frozenset("B"))
        ('AB', 'B')
    """
    return "".join(sorted(trainable))


def change_norm(message: Message, broadcast: ServerState) -> float:
    r"""How far everything that is sent is from what the client was given, :math:`\sqrt{\sum_l \|X_l - X_l^t\|_F^2}`.

    Args:
        message: factors and head, of the broadcast's shapes.
        broadcast: what the client started from.

    Returns:
        The norm, computed in float64; infinity where that overflows.

    Example:
        >>> from rolora.adapter import Layer
        >>> start = ServerState({"q": Layer(np.zeros((2, 1)), np.zeros((1, 2)))})
        >>> change_norm(Message({"B": {"q": np.array([[3.0, 4.0]])}}), start)
        5.0
    """
    starts = by_place(pack(broadcast, frozenset(part for part, _, _ in message.arrays())))
    squares = 0.0
    for (part, name), array in by_place(message).items():
        xp = array_api_compat.array_namespace(array)
        with np.errstate(over="ignore", invalid="ignore"):
            change = xp.astype(array, xp.float64) - xp.astype(starts[part, name], xp.float64)
            squares += float(xp.sum(change * change))
    return math.sqrt(squares) if squares == squares else math.inf


def received_bytes(message: Message) -> dict[str, int]:
    """The bytes of a message by part, whatever is in it: what belongs to no part is counted as surplus."""
    count = dict.fromkeys(PARTS, 0)
    for part, _, array in message.arrays():
        place = part if part in count else "surplus"
        count[place] = count.get(place, 0) + _size(array)
    return count


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size(array: Any) -> int:
    own = getattr(array, "nbytes", None)
    if isinstance(own, int):
        return own
    try:
        return nbytes(array)
    except (AttributeError, TypeError, ValueError):
        return 0
