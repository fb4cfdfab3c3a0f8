"""Remote counterpart of the simulation loop: send each client the tensors that it lacks and wait for its update.

Sampling, validation, aggregation, evaluation and repeated rounds are those of ``rolora.experiment.loop``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from rolora.deployment import protocol
from rolora.deployment.protocol import Reason, TrainReply, TrainRequest
from rolora.deployment.sessions import ClientSession, ClientSessions
from rolora.deployment.superlink import SuperLink
from rolora.experiment.loop import Experiment
from rolora.federation import ClientUpdate, OpenRound, UpdateError, pack, sent_down
from rolora.federation.validation import shown
from rolora.records import installed_version

POLL_SECONDS = 0.02
"""Pause between two looks for replies."""

FAREWELL_SECONDS = 5.0
"""Time that clients have to confirm the end of the run."""

REPORT_SECONDS = 30.0
"""Time between two lines about the clients that are waited for."""


@dataclass(frozen=True)
class RoundTimeout:
    """Deadline of an attempt at a round.

    Args:
        deadline: seconds that an attempt waits for its clients; None for ever.
        minimum: updates that a round needs, in the place of ``federation.minimum_clients``.
    """

    deadline: float | None = None
    minimum: int | None = None

    def until(self) -> float:
        """Return when a deadline that begins now has passed, in seconds of the monotonic clock."""
        return float("inf") if self.deadline is None else time.monotonic() + self.deadline


@dataclass
class Replies:
    """Messages of one attempt at a round.

    Args:
        updates: client -> its update, not yet validated.
        faults: client -> why its reply is no update.
        down: bytes by part of every message to a client that took part before.
        joining: bytes by part of every message to a newcomer.
    """

    updates: dict[int, ClientUpdate] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    down: list[Mapping[str, int]] = field(default_factory=list)
    joining: list[Mapping[str, int]] = field(default_factory=list)

    def __contains__(self, client: int) -> bool:
        return client in self.updates or client in self.faults


def server_app(
    experiment: Experiment, link: SuperLink, timeout: RoundTimeout, report: Callable[[str], None]
) -> ServerApp:
    """Return Flower's ServerApp of an experiment; it ends when all rounds are closed and the clients know it."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        rounds = RemoteRounds(experiment, link, timeout, report)
        experiment.engine = rounds
        while not experiment.over:
            rounds.play()
        rounds.finish()

    return app


class RemoteRounds:
    """Rounds whose clients are remote; in the place of an engine it describes the deployment to the record."""

    def __init__(
        self, experiment: Experiment, link: SuperLink, timeout: RoundTimeout, report: Callable[[str], None]
    ) -> None:
        self.experiment, self.link, self.timeout, self.report = experiment, link, timeout, report
        self.sessions = ClientSessions(link, experiment.config, experiment.setup, report, self._forget)
        if timeout.minimum is not None:
            experiment.rules = replace(experiment.rules, minimum_clients=timeout.minimum)

    def play(self) -> None:
        """Play one round, in as many attempts as the experiment makes."""
        before, closed = self.link.meter.total(), False
        while not closed:
            started = time.perf_counter()
            opened = self.experiment.open_round()
            replies = self._collect(opened)
            missing = {
                client: replies.faults.get(client) or self.sessions.state_of(client)
                for client in opened.clients
                if client not in replies.updates
            }
            for _ in missing:  # the progress bar has a place for each client
                self.experiment.reporter.local_update_done()
            more: dict[str, Any] = {
                "wire": {kind: count - before[kind] for kind, count in self.link.meter.total().items()}
            }
            if missing:
                more["missing"] = {str(client): reason for client, reason in missing.items()}
            opened = replace(opened, down=replies.down, joining=replies.joining)
            closed = self.experiment.close_round(opened, list(replies.updates.values()), started, more, missing)

    def _collect(self, opened: OpenRound) -> Replies:
        """Send the train requests of an attempt and wait for the replies, at most until the deadline."""
        replies, needed = Replies(), self.experiment.rules.needed(opened)
        until, reported = self.timeout.until(), time.monotonic()
        while True:
            self.sessions.greet()
            self._send_requests(opened, replies)
            self._receive(opened, replies)
            waiting = [client for client in opened.clients if client not in replies]
            if time.monotonic() > until:
                self.sessions.note_absent(waiting)
                break
            settled = not any(self.sessions.is_expected(client) for client in waiting)
            if settled and (len(replies.updates) >= needed or replies.faults):
                break
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                states = [f"client {client} ({self.sessions.state_of(client)})" for client in waiting]
                self.report(f"round {opened.t}: waiting for {', '.join(states)}")
            time.sleep(POLL_SECONDS)
        self.sessions.close_round()
        return replies

    def _forget(self, client: int) -> None:
        """Note in the ledger that a client has to be sent everything."""
        held = {other: parts for other, parts in self.experiment.ledger.held.items() if other != client}
        self.experiment.ledger = replace(self.experiment.ledger, held=held)

    def _send_requests(self, opened: OpenRound, replies: Replies) -> None:
        """Send the train request to every client that is ready and has not got it."""
        for client in opened.clients:
            session = self.sessions.by_client.get(client)
            if session is None or not session.ready or session.pending_update or client in replies:
                continue
            start, ledger = opened.broadcasts[client], self.experiment.ledger
            request = TrainRequest(
                protocol=protocol.PROTOCOL,
                round=opened.t,
                client=client,
                trainable=sorted(opened.trainable),
                state=protocol.digest(start),
            )
            tensors = sent_down(start, ledger, client, self.experiment.algorithm)
            (replies.joining if ledger.is_new(client) else replies.down).append(tensors.bytes_by_part())
            content = protocol.content(request, tensors)
            session.pending_update = self.sessions.send(session.node, protocol.TRAIN, content, str(opened.t))

    def _receive(self, opened: OpenRound, replies: Replies) -> None:
        """Read the replies that have come."""
        for session, message in self.sessions.replies("pending_update"):
            try:
                update = self._update(opened, session, message)
            except UpdateError as error:
                replies.faults[session.client] = str(error)
                continue
            if update is not None:
                replies.updates[session.client] = update
                self.experiment.reporter.local_update_done()

    def _update(self, opened: OpenRound, session: ClientSession, message: Message) -> ClientUpdate | None:
        """Return the update in a reply; None if the client has to be sent everything first."""
        if not message.has_content():
            raise UpdateError(f"failed: {shown(' '.join(str(message.error.reason).split()), 200)}")
        reply = protocol.header_of(message.content, TrainReply)
        given = (reply.protocol, reply.client, reply.round)
        expected = (protocol.PROTOCOL, session.client, opened.t)
        if given != expected:
            raise UpdateError(f"a reply with protocol, client and round {shown(given)}, expected {expected}")
        if reply.stale:
            if self.experiment.ledger.is_new(session.client):
                raise UpdateError("the state that it was sent has another digest there")
            self._forget(session.client)
            return None
        sent = pack(opened.broadcasts[session.client], self.experiment.algorithm.sent(opened.t) | {"head"})
        device = self.experiment.setup.device
        tensors = protocol.tensors_of(message.content, device, protocol.most_bytes(sent))
        return ClientUpdate(session.client, opened.t, reply.weight, tensors, reply.loss)

    def finish(self) -> None:
        """Tell every connected client that the run is finished."""
        content = protocol.content(Reason())
        messages = [Message(content, node, protocol.FINISHED) for node in self.link.online()]
        self.link.grid.send_and_receive(messages, timeout=FAREWELL_SECONDS)

    def describe(self) -> dict[str, Any]:
        """Return the record's description of the deployment."""
        hellos = {client: session.hello for client, session in sorted(self.sessions.by_client.items())}
        return {
            "deployment": {
                "flower": installed_version("flwr"),
                "authenticated": bool(self.link.clients),
                "refused_requests": self.link.meter.refused(),
                "deadline": self.timeout.deadline,
                "minimum_clients": self.timeout.minimum,
                "clients": {
                    str(client): {"examples": hello.examples, "packages": hello.packages}
                    for client, hello in hellos.items()
                    if hello is not None
                },
            }
        }
