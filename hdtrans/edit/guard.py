"""Guard of the local server: refuses requests of other pages, machines and programs before their bodies are read.

A browser lets every page send requests to 127.0.0.1, and lets a foreign name lead there (DNS rebinding). Host and
Origin are compared with the server's own addresses; all but the page itself needs the token of its address.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

TOKEN_HEADER = "x-hdtrans-token"  # noqa: S105 - name of a header
MOST_BYTES = 64 * 2**20
"""Largest body of a request, in bytes."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH")
_WITH_BODY = ("POST", "PUT", "PATCH")
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware.

    Args:
        application: application that answers what passes.
        port: port of the server.
        token: secret of the page's address.
    """

    def __init__(self, application: Application, port: int, token: str) -> None:
        self.application = application
        self.token = token.encode()
        self.hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it and close the connection."""
        if scope["type"] != "http":
            return
        if (refused := self.refusal(scope)) is not None:
            await _refuse(send, *refused)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.application(scope, receive, send_with_headers)

    def refusal(self, scope: Message) -> tuple[int, str] | None:
        """Return status and reason of a refusal, or None for a request that passes."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts, origins = headers.get(b"host", []), headers.get(b"origin", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 403, "this Host is not the editor's own address; open the address that the editor printed"
        if any(origin.lower() not in self.origins for origin in origins):
            return 403, "this Origin is another page's; open the address that the editor printed"
        if scope["method"] not in METHODS:
            return 405, f"the editor takes {', '.join(METHODS)}"
        if scope["path"].startswith("/api"):
            tokens = headers.get(TOKEN_HEADER.encode(), [])
            if len(tokens) != 1 or not hmac.compare_digest(tokens[0], self.token):
                return 403, "the token is missing or wrong; open the address that the editor printed, with all behind #"
        return _refused_body(scope["method"], headers)


def _refused_body(method: str, headers: dict[bytes, list[bytes]]) -> tuple[int, str] | None:
    """Return status and reason of a refusal because of a body's length."""
    lengths = headers.get(b"content-length", [])
    if b"transfer-encoding" in headers or (method in _WITH_BODY and len(lengths) != 1):
        return 411, "a body needs its length, in one Content-Length"
    if lengths and not (lengths[0].isdigit() and int(lengths[0]) <= MOST_BYTES):
        return 413, f"the body is too long; at most {MOST_BYTES:,} bytes are taken"
    if method not in _WITH_BODY and lengths and int(lengths[0]):
        return 400, f"{method} has no body"
    return None


async def _refuse(send: Send, status: int, reason: str) -> None:
    """Answer and close: the unread body would be taken for the next request."""
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
