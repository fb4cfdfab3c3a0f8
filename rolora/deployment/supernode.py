"""A client's end of Flower: a node that signs in, asks for messages, and answers them with the ClientApp of this process.

A stock node starts a new process for every message, and runs in it whatever program the server sends. This one loads the model
once and runs its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import httpx
from flwr.app import Context, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node as ProtoNode
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from rolora.deployment.certificates import ClientIdentity, public_pem
from rolora.errors import InputError

HEARTBEAT = 10.0
"""Seconds within which the server wants a sign of life, twice over, before it takes a node for gone: Flower's least."""

SIGN_OF_LIFE = 3.0
"""Seconds between two signs of life."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two questions whether there is a message; they grow while there is none."""

FASTEST_RETURN, SLOWEST_RETURN = 0.2, 5.0
"""Seconds between two attempts to reach a server that is not there."""

CORRUPTED = "an object whose bytes are not those of its name"


@runtime_checkable
class Answering(Protocol):
    """Who answers the messages of a node: ``rolora.deployment.client.Participant``."""

    finished: bool
    """Whether the server has said that the run is."""
    refused: str | None
    """Why the server lets it take no part."""

    def app(self) -> ClientApp:
        """What answers."""
        ...

    def delivered(self) -> None:
        """Told that the last answer is with the server."""
        ...


class Lost(Exception):
    """The connection, or what the server knew of this node, is gone: it has to sign in again."""


class Node:
    """One client's connection."""

    def __init__(self, address: str, identity: ClientIdentity, participant: Answering) -> None:
        """
        Args:
            address: host and port.
            identity: key and authority.
            participant: who answers.
        """
        self.address, self.identity, self.participant = address, identity, participant
        self.app = participant.app()
        self.public = public_pem(identity.key.public_key())
        self.client = FleetHttpClient.from_server_address(
            address,
            identity.authority is None,
            identity.authority,
            [
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(identity.key, identity.key.public_key()),
            ],
        )
        self.node: ProtoNode | None = None
        self.away_since = time.monotonic()
        self.next_try, self.pause = 0.0, FASTEST_RETURN

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self.participant.finished or self.participant.refused is not None

    def step(self) -> bool:
        """Sign in, if that is due, or look for one message and answer it.

        Returns:
            Whether there was one.

        Raises:
            InputError: the server does not let this node in, or is not the one that it trusts.
        """
        if self.node is None:
            if time.monotonic() >= self.next_try:
                self._sign_in()
            return False
        try:
            return self._one_message()
        except (httpx.HTTPError, Lost):
            self._away()
            return False

    def sign_of_life(self) -> None:
        """Tell the server that this node is there, whatever it is doing."""
        if self.node is None:
            return
        with contextlib.suppress(httpx.HTTPError):  # the next question for a message finds out
            self.client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=self.node, heartbeat_interval=HEARTBEAT))

    def leave(self) -> None:
        """Sign out, if the server is still there."""
        if self.node is not None:
            with contextlib.suppress(httpx.HTTPError):
                self.client.DeactivateNode(DeactivateNodeRequest(node_id=self.node.node_id))
        self.client.close()

    def _away(self) -> None:
        if self.node is not None:
            self.node, self.away_since, self.pause = None, time.monotonic(), FASTEST_RETURN
        self.next_try = time.monotonic() + self.pause
        self.pause = min(2 * self.pause, SLOWEST_RETURN)

    def _sign_in(self) -> None:
        try:
            if self.identity.authority is None:
                with contextlib.suppress(httpx.HTTPStatusError):  # it knows the key from an earlier coming
                    self.client.RegisterNode(RegisterNodeFleetRequest(public_key=self.public))
            answer = self.client.ActivateNode(ActivateNodeRequest(public_key=self.public, heartbeat_interval=HEARTBEAT))
        except httpx.HTTPStatusError as error:
            if error.response.status_code >= 500:
                self._away()
                return
            raise InputError(
                f"the server at {self.address} does not let client {self.identity.client} in: it does not know its key, or "
                f"the clocks differ by minutes (status {error.response.status_code})"
            ) from None
        except httpx.TransportError as error:
            reason = " ".join(str(error).split())[:160]
            if "certificate" in reason.lower() or "ssl" in reason.lower():
                raise InputError(
                    f"the server at {self.address} is not the one that this client's authority.pem vouches for; {reason}"
                ) from None
            self._away()
            return
        self.node = ProtoNode(node_id=answer.node_id)

    def _one_message(self) -> bool:
        found = self.client.PullMessages(PullMessagesRequest(node=self.node))
        if not found.messages_list:
            return False
        metadata, tree = found.messages_list[0].metadata, found.message_object_trees[0]
        contents = {one.object_id: self._object(metadata.run_id, one.object_id) for one in iterate_object_tree(tree)}
        self.client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self.node, run_id=metadata.run_id, message_object_id=tree.object_id)
        )
        message = inflate_object_from_contents(tree.object_id, contents)
        message.metadata.__dict__["_message_id"] = tree.object_id
        context = Context(metadata.run_id, self.node.node_id, {}, RecordDict(), {})
        if self._push(self.app(message, context)):
            self.participant.delivered()
        return True

    def _object(self, run: int, name: str) -> bytes:
        answer = self.client.PullObject(PullObjectRequest(node=self.node, run_id=run, object_id=name))
        if not answer.object_available or get_object_id(answer.object_content) != name:
            raise Lost(CORRUPTED)
        return answer.object_content

    def _push(self, reply: Message) -> bool:
        """Send a reply; False if the server does not want it, as the question is closed."""
        run = reply.metadata.run_id
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            answer = self.client.PushMessages(
                PushMessagesRequest(
                    node=self.node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[0.0],
                )
            )
            wanted = set(answer.objects_to_push)
            for name, one in get_all_nested_objects(reply).items():
                if name in wanted:
                    self.client.PushObject(
                        PushObjectRequest(
                            node=self.node,
                            run_id=run,
                            session_id=answer.session_id,
                            object_id=name,
                            object_content=one.deflate(),
                        )
                    )
        return bool(wanted)


def serve(nodes: Sequence[Node], patience: float, say: Callable[[str], None]) -> None:
    """Run nodes of this process until the server says that it is finished.

    Args:
        nodes: they train one at a time.
        patience: seconds without a server before they give up.
        say: is told when a server comes and goes.

    Raises:
        InputError: the server refuses one of them, or did not come.
    """
    over = threading.Event()
    living = threading.Thread(target=_live, args=(nodes, over), daemon=True)
    living.start()
    pause = FIRST_PAUSE
    try:
        while not all(node.done for node in nodes):
            busy = False
            for node in nodes:
                if not node.done:
                    was = node.node
                    busy |= node.step()
                    if (was is None) != (node.node is None):
                        verb = "has signed in at" if node.node is not None else "has lost"
                        say(f"client {node.identity.client} {verb} {node.address}")
            _check(nodes, patience)
            pause = FIRST_PAUSE if busy else min(1.5 * pause, LONGEST_PAUSE)
            if not busy:
                time.sleep(pause)
    finally:
        over.set()
        for node in nodes:
            node.leave()


def _check(nodes: Sequence[Node], patience: float) -> None:
    for node in nodes:
        if node.participant.refused is not None:
            raise InputError(
                f"the server at {node.address} refuses client {node.identity.client}: {node.participant.refused}"
            )
        if node.node is None and not node.done and time.monotonic() - node.away_since > patience:
            raise InputError(
                f"no server at {node.address} for {patience:g} seconds, expected one; --patience waits longer"
            )


def _live(nodes: Sequence[Node], over: threading.Event) -> None:
    while not over.wait(SIGN_OF_LIFE):
        for node in nodes:
            node.sign_of_life()
