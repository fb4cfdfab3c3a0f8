"""Validation of updates before aggregation: form, values, bounds, and the number of updates that a round needs.

Every update is checked by itself, against the broadcast to its client: whether one client is refused does not depend on any
other, which client-level differential privacy needs as well (``rolora.privacy.client_level``).
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import array_api_compat
import numpy as np

from rolora.adapter import Array
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import accumulator
from rolora.federation.communication import PARTS, Message, nbytes
from rolora.federation.state import Accepted, ClientUpdate, OpenRound, Refusal, ServerState, UpdateError, pack

MOST_WEIGHT = 2.0**53
"""Largest weight of an update: as many examples as float64 counts exactly, so that sums of weights are finite."""

MOST_LOSS = 1e100
"""Largest training loss that is accepted, so that weighted sums over all clients are finite."""

SHOWN = 3
"""Refusals that an error names before it counts the rest."""


@dataclass(frozen=True)
class Acceptance:
    """Conditions on updates beside their form, and on their number.

    Args:
        minimum_clients: updates that a round needs; one from each of its clients if None.
        round_attempts: attempts at a round before the run stops.
        norm_bound: largest L2 norm of an update (head included), measured from the broadcast; unbounded if None.
        weight: the weight that every update must have; any positive one if None.
        finite_loss: whether the training loss has to be finite; otherwise nan is accepted.
    """

    minimum_clients: int | None = None
    round_attempts: int = 1
    norm_bound: float | None = None
    weight: float | None = None
    finite_loss: bool = False

    def needed(self, opened: OpenRound) -> int:
        """Return the number of updates without which the round is not closed."""
        clients = len(opened.clients)
        return clients if self.minimum_clients is None else min(self.minimum_clients, clients)

    def shortage(self, opened: OpenRound, accepted: Accepted) -> str | None:
        """Return one line that says which updates are missing and why; None if enough were accepted.

        Example:
            >>> opened = OpenRound(0, (4, 7), frozenset("B"), {}, [], [])
            >>> Acceptance().shortage(opened, Accepted((), (Refusal(4, "client 4, round 0: late"),)))
            'client 4, round 0: late; 0 of 2 updates can be used, expected at least 2'
        """
        usable, needed = len(accepted.updates), self.needed(opened)
        if usable >= needed:
            return None
        reasons = [refusal.reason for refusal in accepted.refused[:SHOWN]]
        if more := len(accepted.refused) - len(reasons):
            reasons.append(f"and {more} more")
        count = f"{usable} of {len(opened.clients)} updates can be used, expected at least {needed}"
        return "; ".join([*reasons, count])


def accept(
    opened: OpenRound,
    updates: Sequence[ClientUpdate],
    algorithm: Algorithm,
    rules: Acceptance = Acceptance(),
    missing: Mapping[int, str] | None = None,
) -> Accepted:
    """Check the updates of a round, each once.

    Args:
        opened: the round.
        updates: the received updates, in any order; some may be missing, sent twice, or from clients outside the round.
        algorithm: the method.
        rules: conditions beside the form.
        missing: client -> why no update of it was received, where that is known.

    Returns:
        At most one update of every client, in the order of ``opened.clients``; and the refusals, in the order of
        ``updates``, followed by the clients without an update.
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
    received = {refusal.client for refusal in refused} | taken.keys()
    because = {client: f" ({reason})" for client, reason in (missing or {}).items()}
    refused += [
        Refusal(client, f"client {client}, round {opened.t}: no update received{because.get(client, '')}")
        for client in opened.clients
        if client not in received
    ]
    return Accepted(tuple(taken[client] for client in opened.clients if client in taken), tuple(refused))


def _fault(
    opened: OpenRound, update: ClientUpdate, algorithm: Algorithm, rules: Acceptance, taken: Container[int]
) -> str | None:
    """Return why an update is refused, or None."""
    sender = f"client {shown(update.client)}, round {opened.t}"
    if not _is_count(update.client) or update.client not in opened.broadcasts:
        return f"{sender}: an update of a client that is not of this round"
    if update.client in taken:
        return f"{sender}: a second update"
    broadcast = opened.broadcasts[update.client]
    try:
        check_update(update, opened.t, update.client, broadcast, algorithm)
    except UpdateError as error:
        return str(error)
    return next(_broken_rules(sender, broadcast, update, rules), None)


def _broken_rules(sender: str, broadcast: ServerState, update: ClientUpdate, rules: Acceptance) -> Iterator[str]:
    """Yield the conditions that an update of the right form does not meet."""
    if rules.weight is not None and update.weight != rules.weight:
        yield f"{sender}: weight is {update.weight:g}, expected {rules.weight:g}"
    bounded = isinstance(update.loss, Real) and abs(update.loss) <= MOST_LOSS
    if not bounded and (rules.finite_loss or update.loss == update.loss):  # nan alone is not equal to itself
        yield f"{sender}: loss {shown(update.loss)} is not a finite number (of at most {MOST_LOSS:g})"
    for (part, name), array in _by_place(update.message).items():
        most = largest(array)
        if _beyond(array, most):
            yield f"{sender}: {part} of {name} has a value beyond {most:.2g}, expected none whose products could overflow"
    if rules.norm_bound is not None:
        norm = change_norm(update.message, broadcast)
        if not norm <= rules.norm_bound:
            yield f"{sender}: the update's norm is {norm:.4g}, expected at most {rules.norm_bound:g}"


def check_update(
    update: ClientUpdate, t: int, client: int, broadcast: ServerState, algorithm: Algorithm, *, values: bool = True
) -> None:
    """Check the form of one update, and that its numbers are finite.

    Args:
        update: the update.
        t: the expected round.
        client: the expected client.
        broadcast: the state that the client started from.
        algorithm: the method.
        values: whether weight and entries are checked too, and not the form alone.

    Raises:
        UpdateError: wrong client or round, weight that is not a positive number, a missing or surplus tensor (a frozen
            factor is surplus), a changed shape or dtype, a value that is not finite.
    """
    sender = f"client {client}, round {t}"
    if update.client != client or update.round != t:
        raise UpdateError(f"{sender}: the update is of client {shown(update.client)}, round {shown(update.round)}")
    if values and not (isinstance(update.weight, Real) and 0 < update.weight <= MOST_WEIGHT):
        raise UpdateError(
            f"{sender}: weight {shown(update.weight)} is not a positive number (of at most {MOST_WEIGHT:g})"
        )
    sent = {(part, name): array for part, name, array in update.message.arrays()}
    expected = _by_place(pack(broadcast, algorithm.sent(t) | {"head"}))
    _compare(sender, sent, expected, "sent", values)
    kept = {(factor, name): array for name, factors in update.kept.items() for factor, array in factors.items()}
    personal = _by_place(pack(broadcast, algorithm.trainable(t) & algorithm.personal))
    _compare(sender, kept, personal, "kept", values)


def _by_place(message: Message) -> dict[tuple[str, str], Array]:
    """Map (part, name) to array, sorted: a state that comes from a checkpoint has another order."""
    return {(part, name): array for part, name, array in sorted(message.arrays(), key=lambda entry: entry[:2])}


def _compare(
    sender: str,
    given: Mapping[tuple[str, str], Array],
    expected: Mapping[tuple[str, str], Array],
    verb: str,
    values: bool,
) -> None:
    for part, name in sorted(given.keys() - expected.keys(), key=str):
        place = f"{shown(part)} of {shown(name)}"
        raise UpdateError(f"{sender}: {place} was {verb} but is frozen or unknown in this round")
    for (part, name), reference in expected.items():
        if (part, name) not in given:
            raise UpdateError(f"{sender}: {part} of {name} is missing")
        array = given[part, name]
        if not array_api_compat.is_array_api_obj(array):
            raise UpdateError(f"{sender}: {part} of {name} is a {type(array).__name__}, expected an array")
        if tuple(array.shape) != tuple(reference.shape) or array.dtype != reference.dtype:
            raise UpdateError(
                f"{sender}: {part} of {name} is {tuple(array.shape)} {array.dtype}, "
                f"expected {tuple(reference.shape)} {reference.dtype}"
            )
        if values and not _is_finite(array):
            raise UpdateError(f"{sender}: {part} of {name} has a value that is not finite")


def check_state(state: ServerState, t: int) -> None:
    """Check that the aggregate of finite updates is finite: products and squares of huge numbers overflow.

    Raises:
        UpdateError: a tensor of the server's has a value that is not finite.
    """
    tensors = [("head", name, array) for name, array in state.head.items()]
    for name, layer in state.layers.items():
        parts = {"A": layer.A, "B": layer.B, "residual": layer.residual} | dict(layer.memory)
        tensors += [(part, name, array) for part, array in parts.items() if array is not None]
    for part, name, array in tensors:
        if not _is_finite(array):
            raise UpdateError(f"round {t}: {part} of {name} is not finite after aggregation, of finite updates")


def largest(array: Array) -> float:
    """Return the largest value that is accepted: the fourth root of the dtype's largest, of float32 for narrower types.

    Products of two such values, summed, are finite; some decompositions never end on what is not.

    Example:
        >>> f"{largest(np.zeros(1, np.float32)):.1e}"
        '4.3e+09'
    """
    xp = array_api_compat.array_namespace(array)
    return float(xp.finfo(accumulator(array)).max) ** 0.25


def change_norm(message: Message, broadcast: ServerState) -> float:
    r"""Return the norm of an update, measured from the broadcast: :math:`\sqrt{\sum_l \|X_l - X_l^t\|_F^2}`.

    Args:
        message: factors and head, of the broadcast's shapes.
        broadcast: the state that the client started from.

    Returns:
        The norm, computed in float64; infinity where that overflows.

    Example:
        >>> from rolora.adapter import Layer
        >>> start = ServerState({"q": Layer(np.zeros((2, 1)), np.zeros((1, 2)))})
        >>> change_norm(Message({"B": {"q": np.array([[3.0, 4.0]])}}), start)
        5.0
    """
    starts = _by_place(pack(broadcast, frozenset(part for part, _, _ in message.arrays())))
    squares = 0.0
    for (part, name), array in _by_place(message).items():
        xp = array_api_compat.array_namespace(array)
        with np.errstate(over="ignore", invalid="ignore"):
            change = xp.astype(array, xp.float64) - xp.astype(starts[part, name], xp.float64)
            squares += float(xp.sum(change * change))
    return math.sqrt(squares) if squares == squares else math.inf


def received_bytes(message: Message) -> dict[str, int]:
    """Return the bytes of a message by part, whatever it holds; unknown parts are counted as "surplus"."""
    count = dict.fromkeys(PARTS, 0)
    for part, _, array in message.arrays():
        place = part if part in count else "surplus"
        count[place] = count.get(place, 0) + _size(array)
    return count


def shown(value: object, most: int = 80) -> str:
    """Return text of a client's as a printable part of one line: no control character, at most ``most`` characters.

    Example:
        >>> shown("query"), shown("a\\nb"), len(shown("x" * 1000))
        ('query', 'a\\\\nb', 80)
    """
    text = value if isinstance(value, str) else repr(value)
    text = text[: 2 * most].encode("unicode_escape").decode("ascii")
    return text if len(text) <= most else text[: most - 3] + "..."


def _beyond(array: Array, most: float) -> bool:
    xp = array_api_compat.array_namespace(array)
    return bool(xp.any(xp.abs(xp.astype(array, accumulator(array), copy=False)) > most))


def _is_finite(array: Array) -> bool:
    xp = array_api_compat.array_namespace(array)
    return bool(xp.all(xp.isfinite(array)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size(array: Any) -> int:
    size = getattr(array, "nbytes", None)
    if isinstance(size, int):
        return size
    try:
        return nbytes(array)
    except (AttributeError, TypeError, ValueError):
        return 0
