"""The server: a ServerApp that opens and closes the rounds of an experiment, whose clients are elsewhere.

What a simulation's loop does in one line, to have the clients trained, is here to send each what it lacks, and to wait;
everything before and after that is ``rolora.experiment.loop``'s own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from rolora.algorithms import Algorithm
from rolora.deployment import protocol
from rolora.deployment.protocol import Answer, Question, Reason
from rolora.deployment.sessions import Seat, Seats
from rolora.deployment.superlink import Link
from rolora.errors import InputError
from rolora.experiment.loop import Experiment
from rolora.federation import ClientUpdate, OpenRound, UpdateError, open_round, sent_down, validation
from rolora.federation.validation import Acceptance
from rolora.records import installed_version

POLL_SECONDS = 0.02
"""Between two looks at what has come."""

FAREWELL_SECONDS = 5.0
"""How long clients have to hear that the run is finished."""

ATTEMPTS = 10
"""How often a round is tried in which everyone answers and too many answers have to be refused."""

SHOWN_EVERY = 30.0
"""Seconds between two lines about who is waited for."""


@dataclass(frozen=True)
class Patience:
    """How long a round waits, and for whom.

    Args:
        deadline: seconds that a round waits for its clients; None for ever.
        minimum: how many updates a round needs; None for those of all clients that it asked.
    """

    deadline: float | None = None
    minimum: int | None = None

    def until(self) -> float | None:
        """When a deadline that begins now has passed."""
        return None if self.deadline is None else time.monotonic() + self.deadline


@dataclass
class Collected:
    """What has come back in a round: good updates, and why others are not among them."""

    updates: dict[int, ClientUpdate] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


def accept(opened: OpenRound, updates: Sequence[ClientUpdate], algorithm: Algorithm, rules: Acceptance) -> Collected:
    """The one place where it is decided which updates are aggregated: by the rules of a simulation.

    Args:
        opened: the round.
        updates: what has come, each from the client that it names.
        algorithm: the run's.
        rules: what they have to satisfy beside their form.
    """
    accepted = validation.accept(opened, updates, algorithm, rules)
    came = {update.client for update in updates}
    return Collected(
        {update.client: update for update in accepted.updates},
        {refusal.client: refusal.reason for refusal in accepted.refused if refusal.client in came},
    )


def server_app(experiment: Experiment, link: Link, patience: Patience, say: Callable[[str], None]) -> ServerApp:
    """Flower's ServerApp of an experiment; it ends when all rounds are closed and the clients know it."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        rounds = Rounds(experiment, link, patience, say)
        experiment.engine = rounds
        while not experiment.over:
            rounds.play()
        rounds.part()

    return app


class Rounds:
    """Opens, waits, closes; and, in the place of an engine, describes itself to the record."""

    def __init__(self, experiment: Experiment, link: Link, patience: Patience, say: Callable[[str], None]) -> None:
        self.experiment, self.link, self.patience, self.say = experiment, link, patience, say
        self.config, self.algorithm = experiment.config, experiment.algorithm
        self.seats = Seats(link, self.config, experiment.setup, say, self._holds_nothing)

    def play(self) -> None:
        """One round, from its opening to its closing."""
        started, experiment = time.perf_counter(), self.experiment
        opened = experiment.open_round()
        wire = self.link.meter.total()
        found, attempts = self._collect(opened)
        kept = [client for client in opened.clients if client in found.updates]
        missing = {str(client): self._why(client, found) for client in opened.clients if client not in found.updates}
        # Who was asked and has not answered may hold what it was sent, or not: the books say that it does not.
        closing = open_round(opened.t, experiment.server, self.algorithm, kept, experiment.ledger, experiment.ranks)
        spent = {kind: count - wire[kind] for kind, count in self.link.meter.total().items()}
        beside: dict[str, Any] = {"wire": spent}
        beside |= {"missing": missing} if missing else {}
        beside |= {"attempts": attempts} if attempts > 1 else {}
        for client, reason in missing.items():
            self.say(f"round {opened.t}: without client {client}: {reason}")
        experiment.close_round(closing, [found.updates[client] for client in kept], started, beside)

    def _why(self, client: int, found: Collected) -> str:
        return found.refused.get(client) or self.seats.state_of(client)

    def _collect(self, opened: OpenRound) -> tuple[Collected, int]:
        """The round's good updates: of all its clients, or of enough of them when the deadline has passed."""
        minimum = self._minimum(len(opened.clients))
        arrived: dict[int, ClientUpdate] = {}
        found, attempts, until, shown = Collected(), 1, self.patience.until(), time.monotonic()
        while True:
            self.seats.greet()
            self._ask(opened, arrived, found)
            self._take(opened, arrived, found)
            waiting = [client for client in opened.clients if client not in arrived and client not in found.refused]
            late = until is not None and time.monotonic() > until
            if late:
                self._note_the_gone(waiting)
            if late or not any(self._may_come(client) for client in waiting):
                checked = accept(opened, list(arrived.values()), self.algorithm, self.experiment.rules)
                found.updates, found.refused = checked.updates, found.refused | checked.refused
                if len(found.updates) >= minimum:
                    break
                if late or found.refused:
                    if attempts == ATTEMPTS and not late:
                        raise InputError(
                            f"round {opened.t}: given up after {attempts} attempts: {'; '.join(found.refused.values())}"
                        )
                    self._announce_another(opened, found, minimum)
                    arrived, found = dict(found.updates), Collected()
                    attempts, until = attempts + 1, self.patience.until()
            if time.monotonic() - shown > SHOWN_EVERY:
                shown = time.monotonic()
                told = [f"client {client} ({self.seats.state_of(client)})" for client in waiting]
                self.say(f"round {opened.t}: waiting for {', '.join(told)}")
            time.sleep(POLL_SECONDS)
        self.seats.close_round()
        return found, attempts

    def _minimum(self, asked: int) -> int:
        configured = self.config.federation.minimum_clients
        return min(self.patience.minimum or configured or asked, asked)

    def _may_come(self, client: int) -> bool:
        """Whether it is worth waiting for until the deadline."""
        seat = self.seats.taken.get(client)
        return seat is None or not (seat.gone or seat.refusal)

    def _note_the_gone(self, waiting: Sequence[int]) -> None:
        for client in waiting:
            if client in self.seats.taken and not self.seats.is_online(client):
                self.seats.taken[client].gone = True

    def _announce_another(self, opened: OpenRound, found: Collected, minimum: int) -> None:
        """Say that the round is not closed yet, and have those asked again that have not answered well."""
        for client, reason in found.refused.items():
            self.say(f"round {opened.t}: refused client {client}: {reason}")
        self.say(f"round {opened.t}: {len(found.updates)} good answers, expected at least {minimum}: once more")
        self.seats.close_round()
        for seat in self.seats.taken.values():
            seat.gone = False
        time.sleep(1.0 if found.refused else POLL_SECONDS)

    def _holds_nothing(self, client: int) -> None:
        """Note in the books that a client has to be sent everything."""
        held = {one: parts for one, parts in self.experiment.ledger.held.items() if one != client}
        self.experiment.ledger = replace(self.experiment.ledger, held=held)

    def _ask(self, opened: OpenRound, arrived: Mapping[int, ClientUpdate], found: Collected) -> None:
        """Send the round's question to everyone who is ready and has not got it."""
        for client in opened.clients:
            seat = self.seats.taken.get(client)
            if seat is None or not seat.ready or seat.asked or client in arrived or client in found.refused:
                continue
            start = opened.broadcasts[client]
            question = Question(
                protocol=protocol.PROTOCOL,
                round=opened.t,
                client=client,
                trainable=sorted(opened.trainable),
                state=protocol.digest(start),
            )
            parts = sent_down(start, self.experiment.ledger, client, self.algorithm)
            seat.asked = self.seats.send(seat.node, protocol.TRAIN, protocol.content(question, parts), str(opened.t))

    def _take(self, opened: OpenRound, arrived: dict[int, ClientUpdate], found: Collected) -> None:
        """Read what has come back; whatever cannot be read is refused by name."""
        for seat, reply in self.seats.replies("asked"):
            try:
                update = self._read(opened, seat, reply)
            except UpdateError as error:
                found.refused[seat.client] = f"client {seat.client}, round {opened.t}: {error}"
                continue
            if update is None:
                continue
            arrived[seat.client] = update
            self.experiment.reporter.local_update_done()

    def _read(self, opened: OpenRound, seat: Seat, reply: Message) -> ClientUpdate | None:
        if not reply.has_content():
            raise UpdateError(f"it failed: {' '.join(str(reply.error.reason).split())[:200]}")
        answer = protocol.header_of(reply.content, Answer)
        if (answer.protocol, answer.client, answer.round) != (protocol.PROTOCOL, seat.client, opened.t):
            raise UpdateError(
                f"the answer is of client {answer.client}, round {answer.round}, messages of version {answer.protocol}"
            )
        if answer.stale:
            if self.experiment.ledger.is_new(seat.client):
                raise UpdateError("it was sent everything and has put something else together")
            self._holds_nothing(seat.client)  # it has lost what the books say that it holds
            return None
        tensors = protocol.tensors_of(reply.content, self.experiment.setup.device)
        return ClientUpdate(seat.client, opened.t, answer.weight, tensors, answer.loss)

    def part(self) -> None:
        """Tell everyone who is there that the run is finished."""
        farewell = protocol.content(Reason())
        asked = [Message(farewell, node, protocol.FINISHED) for node in self.link.online()]
        self.link.grid.send_and_receive(asked, timeout=FAREWELL_SECONDS)

    def describe(self) -> dict[str, Any]:
        """What a record says of the deployment."""
        greeted = [(client, seat.greeting) for client, seat in sorted(self.seats.taken.items())]
        return {
            "deployment": {
                "flower": installed_version("flwr"),
                "authenticated": bool(self.link.clients),
                "refused_requests": self.link.meter.refused(),
                "deadline": self.patience.deadline,
                "minimum_clients": self.patience.minimum,
                "clients": {
                    str(client): {"examples": said.examples, "packages": said.packages}
                    for client, said in greeted
                    if said is not None
                },
            }
        }
