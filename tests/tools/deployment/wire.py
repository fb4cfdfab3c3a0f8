"""A link in this process, nodes that answer it, and a relay between them that counts every byte of TCP's payload."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from rolora.deployment.certificates import ClientIdentity, client_identity, public_pem, server_identity
from rolora.deployment.superlink import SuperLink

_opened: list[FleetHttpClient] = []  # closed with the link


def fleet(port: int, identity: ClientIdentity, trusts: bytes | None = b"own", signs: bool = True) -> FleetHttpClient:
    """A connection of a node to a server on this machine.

    Args:
        port: the server's.
        identity: whose key signs.
        trusts: the authority that the server has to have; the identity's own by default, None for no TLS.
        signs: whether requests are signed at all.
    """
    authority = identity.authority if trusts == b"own" else trusts
    signing = [NodeAuthHttpInterceptor(identity.key, identity.key.public_key())] if signs else []
    connection = FleetHttpClient.from_server_address(
        f"127.0.0.1:{port}",
        authority is None,
        authority,
        [RuntimeVersionHttpInterceptor(component_name="SuperNode"), *signing],
    )
    _opened.append(connection)
    return connection


def activate(connection: FleetHttpClient, identity: ClientIdentity) -> int:
    """Sign in; the node's number."""
    request = ActivateNodeRequest(public_key=public_pem(identity.key.public_key()), heartbeat_interval=10)
    return connection.ActivateNode(request).node_id


def status_of(call: Callable[[], object]) -> int:
    """The status with which a request is refused; 200 if it is not."""
    try:
        call()
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200


@contextmanager
def linked(keys: Path) -> Iterator[tuple[SuperLink, list[ClientIdentity]]]:
    """A server's end with TLS and authentication, and its clients' identities."""
    identity = server_identity(keys / "server")
    with SuperLink("127.0.0.1", 0, identity) as link:
        try:
            yield link, [client_identity(keys / f"client-{client}") for client in sorted(identity.clients)]
        finally:
            while _opened:
                _opened.pop().close()


class Relay:
    """Passes bytes on between clients and a server, and counts them: what TCP carries, TLS and all."""

    def __init__(self, port: int) -> None:
        self.target, self.up, self.down = port, 0, 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pass, args=(client, server, "up"), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, "down"), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 16):
                with self._lock:
                    setattr(self, direction, getattr(self, direction) + len(part))
                sink.sendall(part)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()
