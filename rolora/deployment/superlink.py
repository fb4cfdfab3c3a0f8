"""Server side of Flower: its Fleet API on a port, its state in this process, and the grid of a ServerApp.

A stock SuperLink has two more APIs on the same port: one that starts any program that is sent to it, and one for processes that
run such programs. Neither is here: what can be reached from outside is what authenticated nodes need, and nothing else.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from flwr.app import Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID, ErrorCode
from flwr.proto.message_pb2 import ObjectTree
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkStateFactory
from flwr.serverapp import Grid
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.error import http_error_translator
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router as fleet
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from rolora.deployment.byte_meter import Meter
from rolora.deployment.certificates import ServerIdentity
from rolora.errors import InputError

UNUSED = ("/v1/fleet/get-run", "/v1/fleet/get-fab")
"""Requests with which a stock node fetches its program."""

STARTED_WITHIN = 30.0
"""Seconds within which the port has to be open."""


class State(InMemoryLinkState):
    """Flower's state in memory, with every node's number of connections and time of its last heartbeat."""

    def __init__(self) -> None:
        super().__init__(NoOpFederationManager(), ObjectStoreFactory(FLWR_IN_MEMORY_DB_NAME).store())
        self.connections: Counter[int] = Counter()
        self.heartbeats: dict[int, float] = {}

    def activate_node(self, node_id: int, heartbeat_interval: float) -> bool:
        """Connect a node at once, though its earlier process may look alive: Flower alone would have it wait."""
        with self.lock:
            self.deactivate_node(node_id)
            self.connections[node_id] += 1
            self.heartbeats[node_id] = time.monotonic()
            return super().activate_node(node_id, heartbeat_interval)

    def acknowledge_node_heartbeat(self, node_id: int, heartbeat_interval: float) -> bool:
        """Note the time of a heartbeat."""
        self.heartbeats[node_id] = time.monotonic()
        return super().acknowledge_node_heartbeat(node_id, heartbeat_interval)


class LocalGrid(Grid):
    """The grid of a ServerApp that runs in the process that holds Flower's state."""

    def __init__(self, state: State, run: Run) -> None:
        self.state, self._run = state, run
        self._arriving: dict[str, tuple[Message, ObjectTree]] = {}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return self.state.get_nodes(self._run.run_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Store messages and their objects for their nodes to fetch."""
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        state, run = self.state, self._run.run_id
        with no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            session = state.start_session(run)
            stored, missing = state.store_message_and_object_tree(
                remove_content_from_message(message), get_object_tree(message), session
            )
            if not stored:
                raise RuntimeError(f"Flower did not store a {message.metadata.message_type} message")
            for name, nested in get_all_nested_objects(message).items():
                if name in missing:
                    state.store_object(run, session, name, nested.deflate())
        return message.metadata.message_id

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies of which all objects have arrived, without waiting; one that cannot be read as an error."""
        # Not by Flower's own look-up, which ignores the reply of a node that has gone offline since.
        state = self.state
        with state.lock:
            replied = {name for name in message_ids if name in state.message_ins_id_to_message_res_id}
            for name in replied - self._arriving.keys():
                reply = state.message_res_store[state.message_ins_id_to_message_res_id[name]]
                self._arriving[name] = reply, state.object_store.get_object_tree(reply.metadata.message_id)
        complete = []
        for name in replied:
            reply = self._complete(name, *self._arriving[name])
            if reply is not None:
                self.forget([name])
                complete.append(reply)
        return complete

    def _complete(self, request: str, reply: Message, tree: ObjectTree) -> Message | None:
        """Return a reply with its content; None while an object is missing."""
        store, name = self.state.object_store, reply.metadata.message_id
        contents = {node.object_id: store.get(node.object_id) for node in iterate_object_tree(tree)}
        if not all(contents.values()):
            return None
        try:
            complete = inflate_object_from_contents(name, contents)
        except Exception as error:  # a client may send any bytes whose hash is their name
            complete = error
        store.delete(name)
        if not isinstance(complete, Message) or complete.metadata.reply_to_message_id != request:
            question = self.state.message_ins_store[request]
            return Message(Error(ErrorCode.UNKNOWN, "a reply whose bytes are no message"), reply_to=question)
        complete.metadata.__dict__["_message_id"] = name
        return complete

    def forget(self, message_ids: Iterable[str]) -> None:
        """Close messages: replies that still come are refused."""
        for name in message_ids:
            self._arriving.pop(name, None)
            self.state.delete_messages({name})
            self.state.object_store.delete(name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push messages and wait for their replies."""
        pending, until = set(self.push_messages(messages)), None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while pending and (until is None or time.monotonic() < until):
            for reply in self.pull_messages(pending):
                replies.append(reply)
                pending.discard(reply.metadata.reply_to_message_id)
            time.sleep(0.02)
        self.forget(pending)
        return replies


class OwnRepliesOnly(BaseHTTPMiddleware):
    """Accepts replies alone, in the sender's own name: Flower checks who sends a request, not the sender its messages name."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if not request.url.path.startswith("/v1/fleet/") or request.url.path in UNUSED:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        pushed = getattr(request.state, "protobuf_request", None)
        for message in getattr(pushed, "messages_list", ()):
            if message.metadata.src_node_id != pushed.node.node_id or not message.metadata.reply_to_message_id:
                return JSONResponse({"detail": "A node may send replies alone, in its own name"}, status_code=403)
        return await call_next(request)


class SuperLink:
    """Context manager of the open port: Flower's state, its API, its run and its grid."""

    def __init__(self, host: str, port: int, identity: ServerIdentity | None) -> None:
        """
        Args:
            host: the address to listen on.
            port: the port; 0 for one that is free.
            identity: certificate and clients' keys; without them there is no TLS and no authentication.
        """
        self.state = State()
        factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, self.state.federation_manager, ObjectStoreFactory())
        factory.state_instance = self.state
        self.clients: Mapping[int, int] = {}
        if identity is not None:
            self.clients = {
                client: self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, 0)
                for client, key in identity.clients.items()
            }
        self.run = started_run(self.state)
        self.grid = LocalGrid(self.state, self.run)
        self.meter = Meter(application(factory, authenticate=identity is not None))
        self.host, self.port = host, port
        tls: dict[str, Any] = {}
        if identity is not None:
            tls = {"ssl_certfile": str(identity.certificate), "ssl_keyfile": str(identity.key)}
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.meter, host=host, port=port, http="h11", loop="asyncio", ws="none", lifespan="off", access_log=False,
                log_level="critical", server_header=False, date_header=False, timeout_keep_alive=75, **tls,
            )
        )  # fmt: skip
        self._thread: threading.Thread | None = None

    def __enter__(self) -> SuperLink:
        """Open the port.

        Raises:
            InputError: it cannot be opened.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self.host, self.port))
        except OSError as error:
            listening.close()
            raise InputError(
                f"--port: got {self.host}:{self.port}, expected one that is free; {error.strerror}"
            ) from None
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        until = time.monotonic() + STARTED_WITHIN
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise InputError(f"{self.host}:{self.port}: the server could not be started with these certificates")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=5)

    def online(self) -> frozenset[int]:
        """Return the nodes with a recent heartbeat."""
        return frozenset(self.state.get_nodes(self.run.run_id))

    def seconds_since_heartbeat(self, node: int) -> float:
        """Return the age of a node's last heartbeat; the node has been connected."""
        return time.monotonic() - self.state.heartbeats[node]


def application(factory: LinkStateFactory, authenticate: bool) -> FastAPI:
    """Return an application that serves Flower's Fleet API and nothing else."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
            Middleware(ProtobufTranslationMiddleware),
            Middleware(NodeAuthMiddleware),
            Middleware(OwnRepliesOnly),
        ],
    )
    app.state.linkstate_factory = factory
    app.state.enable_supernode_auth = authenticate
    app.include_router(fleet)
    return app


def started_run(state: State) -> Run:
    """Return an active run of this process."""
    number = state.create_run(
        None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, primary_task_type=TaskType.SERVER_APP
    )
    (run,) = state.get_run_info(run_ids=[number])
    state.claim_task(run.primary_task_id)
    state.activate_task(run.primary_task_id)
    # The token is for a program in another process, which Flower takes for dead when it is silent: here there is none.
    state.task_token_store.pop(run.primary_task_id, None)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = number, SUPERLINK_NODE_ID, run.primary_task_id
    return state.get_run_info(run_ids=[number])[0]
