"""Server-side client sessions: connection state, admission checks, pending requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict

import rolora
from rolora.config import Config
from rolora.deployment import protocol
from rolora.deployment.protocol import ClientHello, Reason
from rolora.deployment.superlink import SuperLink
from rolora.deployment.support import shared_hash
from rolora.experiment.setup import Setup
from rolora.federation import UpdateError
from rolora.federation.validation import shown

COMPARED = {
    "protocol": "the version of the messages",
    "version": "the version of rolora",
    "client": "the number that goes with its key",
    "config": "the hash of the config, [runtime] apart",
    "backbone": "the SHA-256 of the backbone's weights",
    "labels": "the label names",
}
"""Fields of a hello in which client and server have to agree."""


@dataclass
class ClientSession:
    """One client.

    Args:
        client: its number.
        node: its number in Flower.
        connection: how often it had connected when it was last sent a hello.
        hello: its latest valid hello.
        rejection: why it takes no part; empty if it may.
        pending_hello: id of the open hello; empty if there is none.
        pending_update: id of the open train request; empty if there is none.
        absent: it was offline when a deadline passed; it is not waited for until it connects again.
    """

    client: int
    node: int
    connection: int = 0
    hello: ClientHello | None = None
    rejection: str = ""
    pending_hello: str = ""
    pending_update: str = ""
    absent: bool = False

    @property
    def ready(self) -> bool:
        """True once it has been admitted."""
        return self.hello is not None and not self.rejection


class ClientSessions:
    """All clients of a run: client -> session in ``by_client``."""

    def __init__(
        self,
        link: SuperLink,
        config: Config,
        setup: Setup,
        report: Callable[[str], None],
        on_fresh: Callable[[int], None],
    ) -> None:
        """
        Args:
            link: the connection to Flower.
            config: the run's.
            setup: the server's own data and model.
            report: takes a line about every rejected client.
            on_fresh: takes the number of every admitted client that holds nothing of the model.
        """
        self.link, self.report, self.on_fresh = link, report, on_fresh
        self.number = len(setup.clients)
        self.by_client = {
            client: ClientSession(client, node) for client, node in link.clients.items() if client < self.number
        }
        self.expected = ClientHello(
            protocol=protocol.PROTOCOL,
            version=rolora.__version__,
            client=0,
            config=shared_hash(config),
            backbone=setup.backbone.sha256,
            labels=list(setup.data.label_names),
            examples=1,
            fresh=True,
            packages={},
        )

    def greet(self) -> None:
        """Send a hello to every client that has connected since the last call, and check the hellos that came back."""
        if not self.link.clients:
            self._add_unauthenticated()
        for session in self.by_client.values():
            connections = self.link.state.connections[session.node]
            if connections > session.connection:
                self.close(session.pending_hello, session.pending_update)
                session.connection, session.hello, session.rejection = connections, None, ""
                session.pending_update, session.absent = "", False
                session.pending_hello = self.send(session.node, protocol.HELLO, protocol.content(Reason()))
        for session, reply in self.replies("pending_hello"):
            self._admit(session, reply)

    def _add_unauthenticated(self) -> None:
        """Give nodes a free session until their hello: without authentication Flower does not know which client they are."""
        nodes = {session.node for session in self.by_client.values()}
        free = [client for client in range(self.number) if client not in self.by_client]
        for client, node in zip(free, sorted(self.link.online() - nodes), strict=False):
            self.by_client[client] = ClientSession(client, node)

    def _admit(self, session: ClientSession, reply: Message) -> None:
        try:
            if not reply.has_content():
                raise UpdateError("no valid hello message")
            session.hello = protocol.header_of(reply.content, ClientHello)
            if not self.link.clients:
                self._move(session, session.hello.client)
            session.rejection = self._mismatch(session, session.hello)
        except UpdateError as error:
            session.rejection = str(error)
        if session.rejection:
            self.report(f"client {session.client} rejected: {session.rejection}")
            self.send(session.node, protocol.REJECTED, protocol.content(Reason(reason=session.rejection)))
        elif session.hello is not None and session.hello.fresh:
            self.on_fresh(session.client)

    def _mismatch(self, session: ClientSession, hello: ClientHello) -> str:
        """Return the first field in which a client differs from the server; empty if there is none."""
        for name, meaning in COMPARED.items():
            expected = session.client if name == "client" else getattr(self.expected, name)
            if getattr(hello, name) != expected:
                return f"{meaning} is {shown(repr(getattr(hello, name)))}, expected {expected!r}"
        return ""

    def _move(self, session: ClientSession, client: int) -> None:
        """Give a node without a key the client number that it claims."""
        if client >= self.number or session.client == client:
            return
        other = self.by_client.pop(client, None)
        self.by_client.pop(session.client)
        if other is not None and other.hello is None:
            self.by_client[session.client] = other
            other.client = session.client
        session.client = client
        self.by_client[client] = session

    def send(self, node: int, kind: str, content: RecordDict, group: str = "") -> str:
        """Send a message and return its id."""
        (message_id,) = self.link.grid.push_messages([Message(content, node, kind, group_id=group)])
        return message_id

    def replies(self, pending: str) -> list[tuple[ClientSession, Message]]:
        """Return the replies to open messages, "pending_hello" or "pending_update", and close these."""
        sessions = {getattr(session, pending): session for session in self.by_client.values()}
        sessions.pop("", None)
        received = []
        for reply in self.link.grid.pull_messages(sessions) if sessions else ():
            session = sessions[reply.metadata.reply_to_message_id]
            setattr(session, pending, "")
            received.append((session, reply))
        return received

    def close(self, *message_ids: str) -> None:
        """Close open messages: Flower refuses replies that still come."""
        self.link.grid.forget([message_id for message_id in message_ids if message_id])

    def close_round(self) -> None:
        """Close all open train requests."""
        for session in self.by_client.values():
            self.close(session.pending_update)
            session.pending_update = ""

    def is_expected(self, client: int) -> bool:
        """Return whether a client may still reply, or still connect."""
        session = self.by_client.get(client)
        return session is None or not (session.absent or session.rejection)

    def note_absent(self, clients: Sequence[int]) -> None:
        """Note which clients were offline when the deadline passed."""
        online = self.link.online()
        for client in clients:
            if client in self.by_client and self.by_client[client].node not in online:
                self.by_client[client].absent = True

    def state_of(self, client: int) -> str:
        """Return the connection state of a client without a reply, such as "last heartbeat 41 s ago"."""
        session = self.by_client.get(client)
        if session is None or not session.connection:
            return "not connected"
        if session.rejection:
            return f"rejected: {session.rejection}"
        return f"last heartbeat {self.link.seconds_since_heartbeat(session.node):.0f} s ago"
