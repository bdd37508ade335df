"""Bad and odd requests: AWS-like 4xx answers, limits, and no secrets in any log."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.support.sandbox import ROOT

SIGNATURE = (
    f"AWS4-HMAC-SHA256 Credential=sandbox/20260415/us-east-1/apigateway/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
)
SIGNED = {"Authorization": SIGNATURE}


def _raw(sandbox, data: bytes) -> bytes:
    """Send bytes and return what comes until the connection closes, or an answer was read."""
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


def test_unsigned_calls_are_refused_as_on_aws(sandbox):
    answer = sandbox.request("GET", "/apikeys")

    assert (answer.status, answer.json()) == (403, {"message": "Missing Authentication Token"})
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize("header", ["Bearer x", SIGNATURE[:-1], SIGNATURE.replace("apigateway", "s3")])
def test_calls_signed_in_another_shape_are_refused(sandbox, header):
    answer = sandbox.request("GET", "/apikeys", headers={"Authorization": header})

    assert answer.status == 403
    assert answer.headers["x-amzn-ErrorType"] == "IncompleteSignatureException"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/nothing"), ("PUT", "/apikeys"), ("DELETE", "/account"), ("GET", "/domainnames"),
     ("POST", "/apikeys/x/y"), ("PATCH", "/usageplans/x/usage")],
)  # fmt: skip
def test_unknown_operations_are_refused_as_on_aws(sandbox, method, path):
    answer = sandbox.request(method, path, headers=SIGNED)

    assert answer.status == 403
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"\xff", b'{"name": 1}', b'{"enabled": "yes"}', b'{"tags": []}', b'{"tags": {"a": 1}}',
     b'{"stageKeys": [1]}', b"[" * 100_000],
)  # fmt: skip
def test_bodies_that_cannot_be_read_are_refused(sandbox, body):
    answer = sandbox.request("POST", "/apikeys", body, headers=SIGNED)

    assert answer.status == 400
    assert answer.headers["x-amzn-ErrorType"] == "SerializationException"
    assert sandbox.state()["keys"] == []


@pytest.mark.parametrize("query", ["mode=import", "mode=import&format=xml", "mode=other&format=csv"])
def test_imports_of_another_kind_are_refused(sandbox, query):
    answer = sandbox.request("POST", f"/apikeys?{query}", b"Name,Key", headers=SIGNED)

    assert answer.status == 400


def test_path_that_is_not_utf8_is_refused(sandbox):
    assert sandbox.request("GET", "/apikeys/%ff%fe", headers=SIGNED).status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 11_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(3_000)) + b"\r\n", 431),
        (b"POST /apikeys HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /apikeys HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
    ],
)
def test_requests_over_the_limits_are_refused_and_the_connection_closed(sandbox, data, status):
    head, _, body = _raw(sandbox, data).partition(b"\r\n\r\n")

    assert int(head.split()[1]) == status
    assert b"Connection: close" in head
    assert "message" in json.loads(body)


def test_body_over_the_limit_is_refused_when_sent_in_chunks(sandbox):
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    head = b"POST /apikeys HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(head)
        answer = b""
        try:
            for _ in range(170):
                connection.sendall(chunk)
            answer = connection.recv(65_536)
        except ConnectionError:
            return  # refused while it was still being sent: as good
    assert b" 413 " in answer.split(b"\r\n")[0]


def test_keep_alive_answers_many_requests_in_order(sandbox):
    sandbox.fault(kind="latency", operation="GetAccount", seconds=0.1, count=1)
    call = b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: " + SIGNATURE.encode() + b"\r\n%s\r\n"
    health = b"GET /_aws/execute-api/groceries/v1/health HTTP/1.1\r\nHost: x\r\n\r\n"

    last = call % (b"/nothing", b"Connection: close\r\n")
    answers = _raw_all(sandbox, call % (b"/account", b"") + health + call % (b"/restapis", b"") + last)

    assert answers.index(b"throttleSettings") < answers.index(b'"ok"') < answers.index(b"Groceries")
    assert answers.index(b"Groceries") < answers.index(b"Missing Authentication Token")


def _raw_all(sandbox, data: bytes) -> bytes:
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "body", [b'{"name": "x", "throttle": {"rateLimit": 1' + b"0" * 400 + b"}}", b'{"name": "x", "quota": {"limit": Infinity}}']
)
def test_numbers_out_of_all_proportion_are_refused(sandbox, body):
    assert sandbox.request("POST", "/usageplans", body, headers=SIGNED).status == 400
    assert sandbox.state()["plans"] == []


def test_switches_are_not_for_pages_in_a_browser(sandbox):
    answer = sandbox.request("POST", "/_sandbox/forget", headers={"Origin": "http://example.org"})

    assert answer.status == 403


def test_head_gets_no_body(sandbox):
    parts = urlsplit(sandbox.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    for path in ("/_aws/execute-api/groceries/v1/api", "/apikeys"):
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (403, b"")
    connection.request("GET", "/_aws/execute-api/groceries/v1/health")
    assert connection.getresponse().read() == b'{"status":"ok"}'
    connection.close()


def test_upgrade_is_answered_in_plain_http(sandbox):
    head = b"GET /_aws/execute-api/groceries/v1/health HTTP/1.1\r\nHost: x\r\n"

    answer = _raw_all(sandbox, head + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"status":"ok"}')


def test_absolute_urls_are_understood(sandbox):
    answer = _raw_all(
        sandbox,
        b"GET http://x/_aws/execute-api/groceries/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_defects_answer_500_without_a_trace_or_a_value(sandbox, monkeypatch, caplog):
    from sandbox.app import Sandbox
    from tests.support import inprocess

    app = Sandbox()
    monkeypatch.setattr(app.store, "add_key", lambda value, **_: {}[value])
    client = inprocess.client(app)

    with pytest.raises(client.exceptions.ClientError) as caught:
        client.create_api_key(value="secret" * 10)

    assert caught.value.response["Error"]["Message"] == "Internal server error"
    assert "KeyError at" in caplog.text
    assert "secret" not in caplog.text


def test_loop_of_the_standard_library_serves_as_well():
    code = (
        "import importlib.util as u, sys\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'uvloop' else find(name, *a)\n"
        "from sandbox.__main__ import main\n"
        "sys.exit(main(['--port', '0', '--stop-on-eof']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        parts = urlsplit(process.stdout.readline().split()[-1])
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request("GET", "/_aws/execute-api/groceries/v1/health")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        connection.close()
        process.stdin.close()
        assert process.wait(20) == 0
