"""Requests that the guard refuses, before their bodies are read, and the end of their connections."""

import json
import socket

import pytest

from hdtrans.common.errors import UserError
from hdtrans.edit.guard import MOST_BYTES
from hdtrans.edit.server import listen
from tests.edit.running import TOKEN, Editor

FOLLOWING = b"GET /api/model HTTP/1.1\r\nHost: HOST\r\nX-Hdtrans-Token: secret\r\n\r\n"


def request(line: str, *headers: str, host: str = "Host: HOST", token: str = f"X-Hdtrans-Token: {TOKEN}") -> bytes:
    lines = [f"{line} HTTP/1.1", *(each for each in (host, token, *headers) if each)]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (request("GET /api/model", host="Host: evil.example"), 403),
        (request("GET /", host="Host: evil.example"), 403),
        (request("GET /", host="Host: 127.0.0.1"), 403),  # another port
        (request("GET /", host="Host: 127.0.0.1.evil.example:PORT"), 403),
        (request("GET /", host="Host: evil.example:PORT"), 403),  # DNS rebinding: Host and Origin agree
        (request("GET /api/model", "Origin: http://evil.example:PORT", host="Host: evil.example:PORT"), 403),
        (request("GET /api/model", "Origin: http://evil.example"), 403),
        (request("GET /api/model", "Origin: null"), 403),
        (request("GET /api/model", "Origin: https://127.0.0.1:PORT"), 403),
        (request("GET /api/model", "Origin: http://127.0.0.1:PORT", "Origin: http://evil.example"), 403),
        (request("GET /api/model", token=""), 403),
        (request("GET /api/model", token="X-Hdtrans-Token: wrong"), 403),
        (request("GET /api/model", "X-Hdtrans-Token: wrong"), 403),  # two tokens, one of them right
        (request("GET /api/model?token=secret", token=""), 403),
        (request("POST /api/documents", "Content-Length: 2", token=""), 403),
        (request("DELETE /api/model"), 405),
        (request("OPTIONS /api/model", "Origin: http://127.0.0.1:PORT"), 405),
        (request("TRACE /"), 405),
        (request("POST /api/documents"), 411),
        (request("POST /api/documents", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", 411),
        (request("PUT /api/documents/x/upload", f"Content-Length: {MOST_BYTES + 1}"), 413),
        (request("PUT /api/documents/x/upload", "Content-Length: 99999999999999999999"), 413),
        (request("GET /api/model", "Content-Length: 5"), 400),
        (request("POST /api/documents", "Content-Length: -1"), 400),
        (request("POST /api/documents", "Content-Length: 1", "Content-Length: 2"), 400),
    ],
)
def test_a_refusal_closes_the_connection(text: bytes, status: int, plain: Editor) -> None:
    """The bytes after a refusal are never answered: they could be its unread body."""
    place = f"127.0.0.1:{plain.port}".encode()
    sent = (text + FOLLOWING).replace(b"HOST", place).replace(b"PORT", str(plain.port).encode())
    answer = plain.raw(sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"access-control" not in answer.lower()
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "path",
    [
        "/app/../guard.py",
        "/app/%2e%2e/guard.py",
        "/app/..%2fguard.py",
        "/app//etc/passwd",
        "/app/app.js/",
        "/app/__init__.py",
        "/etc/passwd",
        "/api/documents/../model",
        "/api/inputs/0/../../model",
        "/api/inputs/99/thumbnail",
        "/api/documents/unknown/layers",
    ],
)
def test_paths_that_lead_nowhere(path: str, plain: Editor) -> None:
    answer = plain.send("GET", path)
    assert answer.status == 404 and "error" in answer.json


def test_the_page_needs_no_token_and_allows_nothing_from_outside(plain: Editor) -> None:
    answer = plain.send("GET", "/", X_Hdtrans_Token="")
    assert answer.status == 200 and b"app.js" in answer.body and TOKEN.encode() not in answer.body
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
    assert b"http://" not in answer.body and b"https://" not in answer.body


def test_localhost_is_the_same_server(plain: Editor) -> None:
    place = f"localhost:{plain.port}"
    answer = plain.send("GET", "/api/model", Host=place, Origin=f"http://{place}")
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/api/documents", b"[1]", "no JSON object"),
        ("POST", "/api/documents", b"{" * 100_000, "no JSON object"),
        ("POST", "/api/documents", b"{}", "give input, blank or project"),
        ("POST", "/api/documents", b'{"input": "../../etc/passwd"}', "a whole number is expected"),
        ("POST", "/api/documents", b'{"input": 2}', "there is no input 2; there are 2"),
        ("POST", "/api/documents", b'{"project": "../../x"}', "there is no project '../../x'"),
        ("POST", "/api/documents", b'{"blank": {"width": 100000, "height": 100000, "class": 0}}', "the editor takes"),
        ("POST", "/api/documents", b'{"blank": {"width": 8, "height": 8, "class": 9}}', "ids that are no class"),
        ("POST", "/api/projects?name=a.zip", b"nonsense", "a.zip: cannot be read as a project"),
    ],
)
def test_wrong_bodies_get_one_clear_line(method: str, path: str, body: bytes, words: str, plain: Editor) -> None:
    answer = plain.send(method, path, body)
    assert answer.status == 422, answer.body
    assert words in json.loads(answer.body)["error"]


def test_ports() -> None:
    with listen(0) as taken:
        port = taken.getsockname()[1]
        assert taken.getsockname()[0] == "127.0.0.1"
        assert taken.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on"
        taken.listen()
        with pytest.raises(UserError, match=f"port={port}: cannot be used: .*; 0 takes a free one"):
            listen(port)
    with pytest.raises(UserError, match="port=70000: a port is a number from 0 to 65535"):
        listen(70000)
