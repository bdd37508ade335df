"""What receivers can do to us: answer slowly, endlessly, nonsense, or not at all. Real sockets throughout."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tenants.webhooks import transport
from tests.support.receiver import Received, Receiver, drip
from tests.support.services import free_port


def post(url: str) -> transport.Answer:
    return transport.post(url, b'{"type":"key.ready"}', {"Content-Type": "application/json", "webhook-id": "evt"})


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _request, _socket: status

    answer = post(receiver.url("/in?tenant=1"))

    assert (answer.status, answer.is_delivered, answer.error) == (status, True, "")
    [request] = receiver.received
    assert (request.path, request.body) == ("/in?tenant=1", b'{"type":"key.ready"}')
    assert request.headers["content-type"] == "application/json"
    assert not {"cookie", "authorization", "proxy-authorization"} & set(request.headers)


@pytest.mark.parametrize(
    ("status", "words"), [(400, "400"), (401, "401"), (404, "404"), (410, "gone"), (429, "429"), (500, "500"), (503, "503")]
)
def test_other_statuses_are_failures(receiver: Receiver, status: int, words: str) -> None:
    receiver.answer = lambda _request, _socket: status

    answer = post(receiver.url())

    assert (answer.status, answer.is_delivered) == (status, False)
    assert words in answer.error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda _request, _socket: status
    receiver.headers = {"Location": receiver.url("/elsewhere")}

    answer = post(receiver.url())

    assert "Redirects are not followed" in answer.error
    assert [request.path for request in receiver.received] == ["/hooks"]


def test_cookies_are_not_kept(receiver: Receiver) -> None:
    receiver.headers = {"Set-Cookie": "session=1"}

    post(receiver.url())
    post(receiver.url())

    assert "cookie" not in receiver.received[1].headers


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    assert post(receiver.url()).is_delivered


def test_nobody_listens() -> None:
    answer = post(f"http://127.0.0.1:{free_port()}/")

    assert (answer.status, answer.is_delivered) == (None, False)
    assert "nothing listens" in answer.error


def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert "not known" in post("http://nowhere.example.com/").error


def closes(_request: Received, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def garbage(_request: Received, connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff not http at all\r\n\r\n")


def endless_headers(_request: Received, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000)


@pytest.mark.parametrize("behaviour", [closes, garbage, endless_headers])
def test_nonsense_is_a_failure_with_words(receiver: Receiver, behaviour: Any) -> None:
    receiver.answer = behaviour

    answer = post(receiver.url())

    assert not answer.is_delivered
    assert answer.status is None
    assert "connection" in answer.error or "HTTP" in answer.error


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", id="body"),
    ],
)
def test_slow_drip_is_ended_in_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.5)
    receiver.answer = lambda _request, connection: drip(connection, head, seconds=5)

    started = time.monotonic()
    answer = post(receiver.url())

    assert time.monotonic() - started < 4
    assert not answer.is_delivered
    assert "did not answer within" in answer.error


def test_silence_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.4)
    with socket.socket() as listening:  # accepts by the kernel alone
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        answer = post(f"http://127.0.0.1:{listening.getsockname()[1]}/")

    assert "did not answer within" in answer.error


def test_endless_answer_is_read_up_to_its_cap(receiver: Receiver) -> None:
    written = []

    def endless(_request: Received, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 4096)
                written.append(4096)
        except OSError:
            return

    receiver.answer = endless

    started = time.monotonic()
    answer = post(receiver.url())

    assert answer.is_delivered
    assert time.monotonic() - started < 5
    assert sum(written) < 16 * 1024 * 1024  # what the kernel's buffers took


def test_threads_and_sockets_are_given_back(receiver: Receiver) -> None:
    before = threading.active_count()
    for _ in range(20):
        post(receiver.url())

    deadline = time.monotonic() + 5
    while threading.active_count() > before + 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before + 1


# TLS


@pytest.fixture
def tls(tmp_path: Path) -> Any:
    """A server with a certificate for localhost; (port, certificate)."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server.server_address[1], certificate
    server.shutdown()
    server.server_close()


def only_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **options: real(host, port, family=socket.AF_INET, **options))


def test_certificate_is_checked_against_the_authorities(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only_ipv4(monkeypatch)

    answer = post(f"https://localhost:{tls[0]}/")

    assert not answer.is_delivered
    assert "certificate is not valid" in answer.error


def test_certificate_is_checked_with_the_hosts_name(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port, certificate = tls
    only_ipv4(monkeypatch)
    monkeypatch.setattr(transport, "_tls", lambda: ssl.create_default_context(cafile=str(certificate)))

    assert post(f"https://localhost:{port}/").is_delivered
    answer = post(f"https://127.0.0.1:{port}/")  # the same server under another name

    assert not answer.is_delivered
    assert "certificate is not valid" in answer.error


def test_server_that_speaks_no_tls(receiver: Receiver) -> None:
    answer = post(f"https://127.0.0.1:{receiver.port}/")

    assert not answer.is_delivered
    assert "TLS" in answer.error
