"""Bytes of HTTP on the connection, framing included: request lines, headers and bodies.

TLS below them adds its records (29 bytes for 16 KiB with TLS 1.3) and one handshake a connection; it is not counted here, and
``tests/deployment`` measures it from outside.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

UP, DOWN, IDLE_UP, IDLE_DOWN = "up", "down", "idle_up", "idle_down"
"""Bytes of messages and their objects in either direction, and of waiting: empty replies, heartbeats."""

WAITING = ("/send-node-heartbeat", "/activate-node", "/deactivate-node", "/register-node", "/unregister-node")

LIMIT = 8 * 2**20
"""Largest body of a request, in bytes. Flower cuts arrays into pieces of 5 MiB."""


class Meter:
    """ASGI middleware that counts bytes and refuses bodies that are too large before they are read."""

    def __init__(self, inside: Callable[[Scope, Receive, Send], Awaitable[None]], limit: int = LIMIT) -> None:
        self.inside, self.limit = inside, limit
        self._lock = threading.Lock()
        self._bytes: Counter[str] = Counter()
        self._refused: Counter[int] = Counter()

    def refused(self) -> dict[str, int]:
        """Return the refused requests by HTTP status: 401 without a valid signature, 403 in another's name."""
        with self._lock:
            return {str(status): count for status, count in sorted(self._refused.items())}

    def total(self) -> dict[str, int]:
        """Return the bytes by direction and kind."""
        with self._lock:
            return {kind: self._bytes[kind] for kind in (UP, DOWN, IDLE_UP, IDLE_DOWN)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inside(scope, receive, send)
            return
        counted = _Request(scope, self.limit)
        if counted.declared > self.limit:
            await refuse(send)
            with self._lock:
                self._refused[413] += 1
            return
        await self.inside(scope, counted.receiving(receive), counted.sending(send))
        waiting = counted.path.endswith(WAITING) or (counted.path.endswith("/pull-messages") and not counted.answer)
        with self._lock:
            self._bytes[IDLE_UP if waiting else UP] += counted.up
            self._bytes[IDLE_DOWN if waiting else DOWN] += counted.down
            if counted.status >= 400:
                self._refused[counted.status] += 1


class TooLarge(Exception):
    """A body that is longer than declared or allowed."""


class _Request:
    """Bytes of one request and its response."""

    def __init__(self, scope: Scope, limit: int) -> None:
        self.path: str = scope["path"]
        target = scope.get("raw_path") or self.path.encode()
        query = scope.get("query_string") or b""
        line = len(scope["method"]) + 1 + len(target) + (1 + len(query) if query else 0) + len(" HTTP/1.1\r\n")
        self.up = line + _size(scope["headers"])
        self.down = self.answer = self.body = self.status = 0
        self.limit = limit
        self.declared = _length(dict(scope["headers"]))

    def receiving(self, receive: Receive) -> Receive:
        async def counted() -> Event:
            event = await receive()
            size = len(event.get("body", b""))
            self.up += size
            self.body += size
            if self.body > self.limit:
                raise TooLarge(f"a body of more than {self.limit} bytes")
            return event

        return counted

    def sending(self, send: Send) -> Send:
        async def counted(event: Event) -> None:
            if event["type"] == "http.response.start":
                self.status = event["status"]
                self.down += len("HTTP/1.1 200 OK\r\n") + _size(event["headers"])
            body = len(event.get("body", b""))
            self.down += body
            self.answer += body
            await send(event)

        return counted


def _size(headers: Any) -> int:
    """Return the bytes of headers in a message, with the empty line after them."""
    return sum(len(name) + len(": \r\n") + len(value) for name, value in headers) + len("\r\n")


def _length(headers: Mapping[bytes, bytes]) -> int:
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


async def refuse(send: Send) -> None:
    """TrainReply that a body is too large."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
