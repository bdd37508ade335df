"""Requests that no client sends by mistake, over raw connections to the real web server: never a page, never a trace, never a 500.

What is no HTTP at all is refused by the web server before it reaches us; all that reaches us is answered with a problem document.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keys.models import ApiKey
from tenants.models import User
from tests.support.api import token_for
from tests.support.factories import make_tier
from tests.support.web import WebProcess, web_process

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# None: the web server may refuse it in its own words, or hang up.
Expected = set[int] | None


@pytest.fixture
def web(tmp_path: Path, alice: User) -> Iterator[WebProcess]:
    make_tier(slug="gold")
    with web_process(tmp_path, LOG_FORMAT="json") as process:
        yield process
        told = process.log.read_text()
        assert "Traceback" not in told, told[-4000:]
        # It still serves.
        assert process.call("GET", "/api/v1/tiers", secret=token_for(alice)).status == 200


def send(web: WebProcess, raw: bytes, *, patience: float) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to these bytes; status 0 where the server hung up without one, or waits for more."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=patience) as connection:
        received = b""
        with contextlib.suppress(OSError):  # it may answer and hang up before all was sent
            connection.sendall(raw)
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0]:
        return 0, {}, b""
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers, body


def request(secret: str, method: str = "POST", path: str = "/api/v1/keys", body: bytes = b"", *headers: str) -> bytes:
    """One request with our token; ``headers`` as lines."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {secret}", "Connection: close", *headers]
    if not any(line.lower().startswith(("content-type:", "transfer-encoding:")) for line in headers):
        lines.append("Content-Type: application/json")
    if not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


GOOD = json.dumps({"tier": "gold", "name": "Shop"}).encode()
DEEP = 100_000
TYPE = "Content-Type: "

BODIES: dict[str, tuple[bytes, Expected]] = {
    "cut off": (b'{"tier": "gold", "name', {400}),
    "no JSON": (b"tier=gold&name=Shop", {400}),
    "two documents": (GOOD + GOOD, {400}),
    "a list": (b"[1, 2]", {400}),
    "a text": (b'"gold"', {400}),
    "null": (b"null", {400}),
    "NaN": (b'{"tier": NaN}', {400}),
    "huge number": (b'{"tier": ' + b"9" * 100_000 + b"}", {400}),
    "bad UTF-8": (b'{"tier": "gold", "name": "\xff\xfe"}', {400}),
    "UTF-16": (GOOD.decode().encode("utf-16"), {400}),
    "half a surrogate": (b'{"tier": "gold", "name": "\\ud800"}', {400}),
    "NUL in a text": (b'{"tier": "gold", "name": "a\\u0000b"}', {400}),
    "NULs": (b"\0" * 1000, {400}),
    "lists in lists": (b'{"name": ' + b"[" * DEEP + b"]" * DEEP + b"}", {400}),
    "objects in objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, {400}),
    "lists that never end": (b"[" * DEEP, {400}),
    "unknown fields": (b'{"tier": "gold", "name": "Shop", "__class__": 1, "tenant": "x"}', {400}),
    "10,000 unknown fields": (json.dumps({f"f{number}": 1 for number in range(10_000)}).encode(), {400}),
    "the same field twice": (b'{"tier": 1, "tier": "gold", "name": ["x"]}', {400}),
    "10 MB": (b'{"name": "' + b"x" * 10_000_000 + b'"}', {413}),
    "10 MB of nothing": (b" " * 10_000_000, {413}),
}


def test_bodies(web: WebProcess, alice: User) -> None:
    secret = token_for(alice)
    for body, expected in BODIES.values():
        refused(web, request(secret, "POST", "/api/v1/keys", body), expected)
        refused(web, request("tgp-wrong", "POST", "/api/v1/keys", body), {401})


def refused(web: WebProcess, raw: bytes, expected: Expected) -> None:
    """The request changes nothing, and is answered with a problem document; or not at all, where that is allowed."""
    status, headers, body = send(web, raw, patience=60 if expected else 1)
    shown = body.lower()
    assert b"<html" not in shown
    assert b"<!doctype" not in shown
    assert b"traceback" not in shown
    assert ApiKey.objects.count() == 0, raw[:300]
    if expected is None:
        assert status in {0, 400, 401, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501}, (status, body)
        return
    assert status in expected, (status, body[:300], raw[:300])
    if body:
        assert headers["content-type"] == "application/problem+json", (raw[:300], headers, body[:300])
        assert f'"status":{status},' in body.decode(), (raw[:300], body[:300])
    assert headers["x-request-id"]


def test_types_methods_and_lengths(web: WebProcess, alice: User) -> None:
    secret = token_for(alice)
    for kind in (
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "x",
        "," * 5000,
    ):
        refused(web, request(secret, "POST", "/api/v1/keys", GOOD, TYPE + kind), {415})
    # Two types: the web server hands on one of them.
    refused(web, request(secret, "POST", "/api/v1/keys", b"tier=gold", TYPE + "application/json", TYPE + "text/plain"), {400, 415})
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "QUERY", "PROPFIND", "X" * 200):
        refused(web, request(secret, method), {405})
    refused(web, request(secret, "HEAD", "/api/v1/nothing"), {404})
    refused(web, request(secret, "CONNECT"), None)
    for lengths in (["5", "6"], ["-1"], ["1e3"], ["99999999999999999999"], ["abc"], [str(len(GOOD) + 50)]):
        refused(web, request(secret, "POST", "/api/v1/keys", GOOD, *[f"Content-Length: {length}" for length in lengths]), None)
    refused(web, request(secret, "POST", "/api/v1/keys", GOOD, "Content-Length: 5", "Transfer-Encoding: chunked"), None)
    refused(web, request(secret, "POST", "/api/v1/keys", b'5\r\n{"tie\r\nzz\r\n', "Transfer-Encoding: chunked"), None)
    refused(web, request(secret, "POST", "/api/v1/keys", b"ffffffffffffffff\r\n{", "Transfer-Encoding: chunked"), None)


def test_addresses_and_headers(web: WebProcess, alice: User) -> None:
    secret = token_for(alice)
    for path in (
        "/api/v1/keys/",
        "/api/v1/keys/1",
        "/api/v1/keys/%00",
        "/api/v1/keys/%ff%fe",
        "/api/v1/../v1/keys/x",
        "/api/v1/%2e%2e/staff",
        "/api/v1//keys",
        "/api/v1/" + "a/" * 3000,
    ):
        refused(web, request(secret, "GET", path), {404})
    for query in ("?limit=%00", "?cursor=%ff", "?x", "?" + "&".join(f"p{number}=1" for number in range(1000)), "?limit=1&limit=1000000"):
        refused(web, request(secret, "GET", "/api/v1/keys" + query), {400})
    many = [f"X-Filler-{number}: {'x' * 10_000}" for number in range(100)]
    for headers in (
        ["X-Filler: " + "x" * 1_000_000],
        many,
        [f"X-{number}: 1" for number in range(5000)],
        ["Authorization : Bearer x"],
        ["X-Folded: a\r\n b"],
        ["No colon"],
        [": no name"],
        ["X-Nul: a\0b"],
    ):
        refused(web, request(secret, "PATCH", "/api/v1/keys", b"", *headers), None)
    refused(web, request(secret, "PATCH", "/api/v1/keys", b"", "Authorization: Bearer tgp-other"), {400, 401, 405})
    refused(web, request(secret, "POST", "/api/v1/keys", b"{}", "Idempotency-Key: a", "Idempotency-Key: b"), {400})
    refused(web, request(secret, "POST", "/api/v1/keys", GOOD, "Idempotency-Key: " + "k" * 4000), {400})
    refused(web, request(secret, "POST", "/api/v1/keys", GOOD, "Idempotency-Key: \xff\x80"), {400})
    for host in ("elsewhere.example.com", "", "a b", "[::1"):
        raw = request(secret, "GET", "/api/v1/keys").replace(b"Host: localhost", b"Host: " + host.encode())
        refused(web, raw, {400} if host == "elsewhere.example.com" else None)


def test_what_is_no_http(web: WebProcess) -> None:
    for raw in (
        b"",
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /api/v1/keys\r\n\r\n",
        b"GET /api/v1/keys HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
        b"GET " + b"/" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/keys HTTP/1.1\r\nHost: localhost\r\n",
    ):
        refused(web, raw, None)
