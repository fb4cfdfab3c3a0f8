"""The clients as the server sees them: who has come, who may take part, and which questions are open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flwr.app import Message, RecordDict

import rolora
from rolora.config import Config
from rolora.deployment import protocol
from rolora.deployment.protocol import Greeting, Reason
from rolora.deployment.superlink import Link
from rolora.deployment.support import shared_hash
from rolora.experiment.setup import Setup
from rolora.federation import UpdateError

COMPARED = {
    "protocol": "the version of the messages",
    "version": "the version of rolora",
    "client": "the number that goes with its key",
    "config": "the hash of the config, [runtime] apart",
    "backbone": "the SHA-256 of the backbone's weights",
    "labels": "the label names",
}
"""What a client says of itself and has to have as the server has it."""


@dataclass
class Seat:
    """One client as the server sees it.

    Args:
        client: its number.
        node: its number in Flower.
        coming: how often it had come when it was last greeted.
        greeting: what it said of itself; None until it has.
        refusal: why it takes no part; empty if it may.
        hello: the open question about itself.
        asked: the open question of this round.
        gone: it let a deadline pass while it was not there, and is not waited for until it comes again.
    """

    client: int
    node: int
    coming: int = 0
    greeting: Greeting | None = None
    refusal: str = ""
    hello: str = ""
    asked: str = ""
    gone: bool = False

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return self.greeting is not None and not self.refusal


class Seats:
    """All clients of a run: client -> seat in ``taken``."""

    def __init__(
        self, link: Link, config: Config, setup: Setup, say: Callable[[str], None], fresh: Callable[[int], None]
    ) -> None:
        """
        Args:
            link: to Flower.
            config: the run's.
            setup: the server's own data and model.
            say: is told who is refused.
            fresh: is told of every client that comes and holds nothing of the model.
        """
        self.link, self.say, self.fresh = link, say, fresh
        self.number = len(setup.clients)
        self.taken = {client: Seat(client, node) for client, node in link.clients.items() if client < self.number}
        self.expected = Greeting(
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
        """Ask everyone who has come, or come again, who it is; and read what those say who were asked before."""
        if not self.link.clients:
            self._seat_strangers()
        for seat in self.taken.values():
            comings = self.link.state.comings[seat.node]
            if comings > seat.coming:
                self.close(seat)
                seat.coming, seat.greeting, seat.refusal, seat.gone = comings, None, "", False
                seat.hello = self.send(seat.node, protocol.HELLO, protocol.content(Reason()))
        for seat, reply in self.replies("hello"):
            self._meet(seat, reply)

    def _seat_strangers(self) -> None:
        """Without authentication Flower cannot say who a node is: free seats are given until it has said so itself."""
        here = {seat.node for seat in self.taken.values()}
        free = [client for client in range(self.number) if client not in self.taken]
        for client, node in zip(free, sorted(self.link.online() - here), strict=False):
            self.taken[client] = Seat(client, node)

    def _meet(self, seat: Seat, reply: Message) -> None:
        greeting: Greeting | None = None
        try:
            if not reply.has_content():
                raise UpdateError("it could not say what it has")
            greeting = protocol.header_of(reply.content, Greeting)
            if not self.link.clients:
                self._move(seat, greeting.client)
            seat.refusal = self._objection(seat, greeting)
        except UpdateError as error:
            seat.refusal = str(error)
        seat.greeting = greeting
        if seat.refusal:
            self.say(f"refused client {seat.client}: {seat.refusal}")
            self.send(seat.node, protocol.REFUSED, protocol.content(Reason(reason=seat.refusal)))
        elif greeting is not None and greeting.fresh:
            self.fresh(seat.client)

    def _objection(self, seat: Seat, greeting: Greeting) -> str:
        """Why a client that says this of itself takes no part; empty if it may."""
        for name, meaning in COMPARED.items():
            expected = seat.client if name == "client" else getattr(self.expected, name)
            if getattr(greeting, name) != expected:
                return f"{meaning} is {getattr(greeting, name)!r}, expected {expected!r}"
        return ""

    def _move(self, seat: Seat, client: int) -> None:
        """Give a node that has no key the seat of which it says that it is its own."""
        if client >= self.number or seat.client == client:
            return
        other = self.taken.pop(client, None)
        self.taken.pop(seat.client)
        if other is not None and other.greeting is None:
            self.taken[seat.client] = other
            other.client = seat.client
        seat.client = client
        self.taken[client] = seat

    def send(self, node: int, kind: str, content: RecordDict, group: str = "") -> str:
        """Send a question; returns its number."""
        (number,) = self.link.grid.push_messages([Message(content, node, kind, group_id=group)])
        return number

    def replies(self, which: str) -> list[tuple[Seat, Message]]:
        """What has come to the open questions of one kind, "hello" or "asked"; they are closed with it."""
        seats = {getattr(seat, which): seat for seat in self.taken.values() if getattr(seat, which)}
        found = []
        for reply in self.link.grid.pull_messages(seats) if seats else ():
            seat = seats[reply.metadata.reply_to_message_id]
            setattr(seat, which, "")
            found.append((seat, reply))
        return found

    def close(self, seat: Seat) -> None:
        """Close a seat's open questions: replies that still come are refused by Flower."""
        self.link.grid.forget([one for one in (seat.hello, seat.asked) if one])
        seat.hello = seat.asked = ""

    def close_round(self) -> None:
        """Close all open questions of a round."""
        for seat in self.taken.values():
            if seat.asked:
                self.link.grid.forget([seat.asked])
                seat.asked = ""

    def is_online(self, client: int) -> bool:
        """Whether there was a sign of life of it lately."""
        return client in self.taken and self.taken[client].node in self.link.online()

    def state_of(self, client: int) -> str:
        """What a person is told of a client that is waited for."""
        seat = self.taken.get(client)
        if seat is None or not seat.coming:
            return "it has not come"
        if seat.refusal:
            return seat.refusal
        return "no answer yet" if self.is_online(client) else "no sign of life"
