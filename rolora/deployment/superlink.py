"""The server's end of Flower: its Fleet API on a port, its state in this process, and the grid through which a ServerApp talks.

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
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
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
"""Requests of a stock node, which would be sent its program."""

STARTED_WITHIN = 30.0
"""Seconds for the port to be open."""


class State(InMemoryLinkState):
    """Flower's state in memory, which also counts how often every node has come."""

    def __init__(self) -> None:
        super().__init__(NoOpFederationManager(), ObjectStoreFactory(FLWR_IN_MEMORY_DB_NAME).store())
        self.comings: Counter[int] = Counter()

    def activate_node(self, node_id: int, heartbeat_interval: float) -> bool:
        """Let a node in whose earlier process may have been killed a second ago: Flower alone would have it wait."""
        with self.lock:
            self.deactivate_node(node_id)
            self.comings[node_id] += 1
            return super().activate_node(node_id, heartbeat_interval)


class LocalGrid(Grid):
    """The grid of a ServerApp that runs in the process that holds Flower's state."""

    def __init__(self, state: State, run: Run) -> None:
        self.state, self._run = state, run
        self._arriving: dict[str, tuple[Message, ObjectTree]] = {}

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message of this run."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that are online."""
        return self.state.get_nodes(self._run.run_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Lay messages and their objects where their nodes fetch them."""
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
                raise RuntimeError(f"Flower has not taken a {message.metadata.message_type} message")
            for name, one in get_all_nested_objects(message).items():
                if name in missing:
                    state.store_object(run, session, name, one.deflate())
        return message.metadata.message_id

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are here with all their objects; without waiting for those that are on their way."""
        # Not by Flower's own look-up: it takes a node that is offline for one that has not answered, answered or not.
        state = self.state
        with state.lock:
            known = {one for one in message_ids if one in state.message_ins_id_to_message_res_id}
            for asked in known - self._arriving.keys():
                reply = state.message_res_store[state.message_ins_id_to_message_res_id[asked]]
                self._arriving[asked] = reply, state.object_store.get_object_tree(reply.metadata.message_id)
        found = []
        for asked in known:
            reply = self._whole(*self._arriving[asked])
            if reply is not None:
                self.forget([asked])
                found.append(reply)
        return found

    def _whole(self, reply: Message, tree: ObjectTree) -> Message | None:
        """A reply with its content, once all of it has come."""
        contents = {one.object_id: self.state.object_store.get(one.object_id) for one in iterate_object_tree(tree)}
        if not all(contents.values()):
            return None
        name = reply.metadata.message_id
        whole = inflate_object_from_contents(name, contents)
        self.state.object_store.delete(name)
        if not isinstance(whole, Message):
            raise ValueError("a reply that is no message")
        whole.metadata.__dict__["_message_id"] = name
        return whole

    def forget(self, message_ids: Iterable[str]) -> None:
        """Close questions: replies to them that still come are refused."""
        for one in message_ids:
            self._arriving.pop(one, None)
            self.state.delete_messages({one})
            self.state.object_store.delete(one)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push messages and wait for their replies."""
        open_, until = set(self.push_messages(messages)), None if timeout is None else time.monotonic() + timeout
        found: list[Message] = []
        while open_ and (until is None or time.monotonic() < until):
            for reply in self.pull_messages(open_):
                found.append(reply)
                open_.discard(reply.metadata.reply_to_message_id)
            time.sleep(0.02)
        self.forget(open_)
        return found


class OwnRepliesOnly(BaseHTTPMiddleware):
    """A node sends replies, and in its own name. Flower checks who sends a request, not whom its messages say they are from."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Refuse whatever else is pushed."""
        if not request.url.path.startswith("/v1/fleet/") or request.url.path in UNUSED:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        asked = getattr(request.state, "protobuf_request", None)
        for message in getattr(asked, "messages_list", ()):
            if message.metadata.src_node_id != asked.node.node_id or not message.metadata.reply_to_message_id:
                return JSONResponse({"detail": "A node may send replies alone, in its own name"}, status_code=403)
        return await call_next(request)


class Link:
    """The port, from ``with`` to its end."""

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

    def __enter__(self) -> Link:
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
        """Close it."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=5)

    def online(self) -> frozenset[int]:
        """The nodes from which there was a sign of life lately."""
        return frozenset(self.state.get_nodes(self.run.run_id))


def application(factory: LinkStateFactory, authenticate: bool) -> FastAPI:
    """Flower's Fleet API and no other; without its pages of documentation."""
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
    """A run of this process's own, for as long as it lives."""
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
