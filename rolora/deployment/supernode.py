"""Client side of Flower: a node that signs in, fetches messages, and replies with the ClientApp of this process.

A stock node starts a new process for every message and runs the program that the server sends. This one loads the model once
and runs its own.
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
"""Seconds; after two of them without a heartbeat the server takes a node for offline. Flower's least."""

HEARTBEAT_SECONDS = 3.0
"""Seconds between two heartbeats."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two attempts to fetch a message; they grow while there is none."""

FASTEST_RETURN, SLOWEST_RETURN = 0.2, 5.0
"""Seconds between two attempts to reach a server that does not reply."""

CORRUPTED = "an object whose bytes are not those of its name"


@runtime_checkable
class Replier(Protocol):
    """Interface of ``rolora.deployment.client.Client``: replies to the messages of a node."""

    finished: bool
    """True once the server has ended the run."""
    rejected: str | None
    """The server's reason to reject the client; None while there is none."""

    def app(self) -> ClientApp:
        """Return the ClientApp that replies."""
        ...

    def delivered(self) -> None:
        """Take note that the server has the last reply."""
        ...


class Lost(Exception):
    """The connection, or the server's state of this node, is lost: it has to sign in again."""


class SuperNode:
    """One client's connection."""

    def __init__(self, address: str, identity: ClientIdentity, replier: Replier) -> None:
        """
        Args:
            address: host and port of the server.
            identity: key and authority.
            replier: the client that replies.
        """
        self.address, self.identity, self.replier = address, identity, replier
        self.app = replier.app()
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
        """True once the run is finished, or the client rejected."""
        return self.replier.finished or self.replier.rejected is not None

    def step(self) -> bool:
        """Sign in, if that is due, or fetch one message and reply to it.

        Returns:
            Whether there was a message.

        Raises:
            InputError: the server rejects this node, or has no certificate of the trusted authority.
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

    def heartbeat(self) -> None:
        """Send a heartbeat if the node is signed in."""
        if self.node is None:
            return
        with contextlib.suppress(httpx.HTTPError):  # the next fetch of a message finds out
            self.client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=self.node, heartbeat_interval=HEARTBEAT))

    def leave(self) -> None:
        """Sign out and close the connection."""
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
                with contextlib.suppress(httpx.HTTPStatusError):  # it knows the key from an earlier connection
                    self.client.RegisterNode(RegisterNodeFleetRequest(public_key=self.public))
            answer = self.client.ActivateNode(ActivateNodeRequest(public_key=self.public, heartbeat_interval=HEARTBEAT))
        except httpx.HTTPStatusError as error:
            if error.response.status_code >= 500:
                self._away()
                return
            raise InputError(
                f"the server at {self.address} rejected the key of client {self.identity.client} (status "
                f"{error.response.status_code}): it does not know it, or the clocks differ by minutes"
            ) from None
        except httpx.TransportError as error:
            reason = " ".join(str(error).split())[:160]
            if "certificate" in reason.lower() or "ssl" in reason.lower():
                raise InputError(
                    f"the server at {self.address} has no certificate of this client's authority.pem; {reason}"
                ) from None
            self._away()
            return
        self.node = ProtoNode(node_id=answer.node_id)

    def _one_message(self) -> bool:
        fetched = self.client.PullMessages(PullMessagesRequest(node=self.node))
        if not fetched.messages_list:
            return False
        metadata, tree = fetched.messages_list[0].metadata, fetched.message_object_trees[0]
        contents = {node.object_id: self._object(metadata.run_id, node.object_id) for node in iterate_object_tree(tree)}
        self.client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self.node, run_id=metadata.run_id, message_object_id=tree.object_id)
        )
        message = inflate_object_from_contents(tree.object_id, contents)
        message.metadata.__dict__["_message_id"] = tree.object_id
        context = Context(metadata.run_id, self.node.node_id, {}, RecordDict(), {})
        if self._push(self.app(message, context)):
            self.replier.delivered()
        return True

    def _object(self, run: int, name: str) -> bytes:
        answer = self.client.PullObject(PullObjectRequest(node=self.node, run_id=run, object_id=name))
        if not answer.object_available or get_object_id(answer.object_content) != name:
            raise Lost(CORRUPTED)
        return answer.object_content

    def _push(self, reply: Message) -> bool:
        """Send a reply; return False if the server does not take it, as the request is closed."""
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
            for name, nested in get_all_nested_objects(reply).items():
                if name in wanted:
                    self.client.PushObject(
                        PushObjectRequest(
                            node=self.node,
                            run_id=run,
                            session_id=answer.session_id,
                            object_id=name,
                            object_content=nested.deflate(),
                        )
                    )
        return bool(wanted)


def serve(nodes: Sequence[SuperNode], patience: float, report: Callable[[str], None]) -> None:
    """Run nodes in this process until the server ends the run.

    Args:
        nodes: they train one at a time.
        patience: seconds without a server before they give up.
        report: takes a line when a node has signed in or lost its server.

    Raises:
        InputError: the server rejects one of them, or cannot be reached.
    """
    over = threading.Event()
    threading.Thread(target=_send_heartbeats, args=(nodes, over), daemon=True).start()
    pause = FIRST_PAUSE
    try:
        while not all(node.done for node in nodes):
            busy = False
            for node in nodes:
                if not node.done:
                    before = node.node
                    busy |= node.step()
                    if (before is None) != (node.node is None):
                        verb = "has signed in at" if node.node is not None else "has lost"
                        report(f"client {node.identity.client} {verb} {node.address}")
            _check(nodes, patience)
            pause = FIRST_PAUSE if busy else min(1.5 * pause, LONGEST_PAUSE)
            if not busy:
                time.sleep(pause)
    finally:
        over.set()
        for node in nodes:
            node.leave()


def _check(nodes: Sequence[SuperNode], patience: float) -> None:
    for node in nodes:
        if node.replier.rejected is not None:
            raise InputError(
                f"the server at {node.address} rejected client {node.identity.client}: {node.replier.rejected}"
            )
        if node.node is None and not node.done and time.monotonic() - node.away_since > patience:
            raise InputError(
                f"no server at {node.address} for {patience:g} seconds, expected one; --patience waits longer"
            )


def _send_heartbeats(nodes: Sequence[SuperNode], over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_SECONDS):
        for node in nodes:
            node.heartbeat()
