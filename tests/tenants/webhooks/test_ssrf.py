"""Whatever a tenant writes as a URL, and whatever its name server says, no connection leads anywhere but to public addresses.

The recorder hears every connect of this process from the interpreter itself (an audit hook), so nothing can go round it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tenants.audit import SYSTEM
from tenants.models import Tenant, WebhookEndpoint
from tenants.webhooks import endpoints, transport
from tenants.webhooks.addresses import may_be_sent_to
from tenants.webhooks.endpoints import UnableToChangeWebhook
from tests.support.receiver import Receiver, a_receiver

PUBLIC = "93.184.215.14"
_connects: list[tuple[str, int]] | None = None


def _hook(event: str, arguments: Any) -> None:
    if event == "socket.connect" and _connects is not None and arguments[0].family in {socket.AF_INET, socket.AF_INET6}:
        _connects.append(arguments[1][:2])
        if not arguments[1][0].startswith("127."):
            raise ConnectionRefusedError  # tests do not leave this machine


sys.addaudithook(_hook)


@pytest.fixture
def connects() -> Iterator[list[tuple[str, int]]]:
    """Where this process connected to."""
    global _connects  # noqa: PLW0603 - an audit hook cannot be taken away
    _connects = []
    yield _connects
    _connects = None


@pytest.fixture(autouse=True)
def _strict(settings: Any) -> None:
    """As in production, but for http: so that no payload is refused for its scheme alone."""
    settings.WEBHOOK_PRIVATE_ADDRESSES = "off"
    settings.PRODUCTION = False


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let every name resolve to these addresses; each further list is the answer to a further question. Returns what was asked."""
    asked: list[str] = []

    def to(*answers: list[str]) -> list[str]:
        def getaddrinfo(host: str, port: int, *_arguments: Any, **_options: Any) -> list[Any]:
            asked.append(host)
            answer = answers[min(len(asked), len(answers)) - 1]
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
                if ":" in address
                else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in answer
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return to


BAD_ADDRESSES = [
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - a payload
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "100.127.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.254",
    "198.18.0.1",
    "198.19.255.254",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::169.254.169.254",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%lo",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff05::2",
]

BAD_URLS = [
    # Other ways to write 127.0.0.1 and 169.254.169.254.
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0x0/",
    "http://00000000000/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.16689662/",
    "http://4294967297/",
    "http://127.000.000.001/",
    # Names of this machine and its network.
    "http://localhost/",
    "http://LOCALHOST:8000/",
    "http://localhost./",
    "http://foo.localhost/",
    "http://intranet/",
    "http://metadata/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://printer.local/",
    # User information, and what parsers disagree about.
    "http://example.com@127.0.0.1/",
    "http://user:secret@example.com/",
    "http://@example.com/",
    "http://example.com:80@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://example.com#@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http:///127.0.0.1/",
    "http:127.0.0.1/",
    "//127.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://example.com%2f@127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]:8000/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fe80::1%25lo]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    # Line breaks, spaces, control characters.
    "http://example.com/\r\nX-Injected: 1",
    "http://example.com/%0d%0a\r\n\r\nGET / HTTP/1.1",
    "http://example.com\r\n.evil.example/",
    "http://example.com/\nfoo",
    "http://example.com/ HTTP/1.1\r\nHost: 127.0.0.1",
    "http://exa\tmple.com/",
    "http://example.com/\x00",
    " http://127.0.0.1/",
    # Letters that become dots, digits and slashes.
    "http://127。0。0。1/",
    "http://127．0．0．1/",  # noqa: RUF001 - a payload
    "http://①②⑦.⓪.⓪.①/",
    "http://ⓛocalhost/",
    "http://example.com／@127.0.0.1/",  # noqa: RUF001 - as above
    "http://exämple.com/",
    # Other schemes, and none.
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "unix:///var/run/docker.sock",
    "ws://127.0.0.1/",
    "HTTP+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "127.0.0.1:8000",
    "",
    # Ports of other services, and no ports.
    "http://example.com:22/",
    "http://example.com:25/",
    "https://example.com:80/",
    "http://example.com:443/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:80:80/",
    "http://.example.com/",
    "http://example..com/",
    "http://-example.com/",
    "http://" + "a" * 64 + ".example.com/",
    "http://example.com/" + "a" * 500,
]

assert len(BAD_URLS) >= 80


@pytest.mark.django_db
@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_url_is_refused_twice_and_nothing_is_connected_to(
    url: str, acme: Tenant, connects: list[Any], resolves: Callable[..., list[str]]
) -> None:
    resolves(["127.0.0.1"])  # whatever slipped through would get here
    if url == url.strip():
        with pytest.raises(UnableToChangeWebhook) as refusal:
            endpoints.register(tenant=acme, url=url, types=["key.ready"], actor=SYSTEM)
        assert refusal.value.field == "url"
        assert str(refusal.value)

    answer = transport.post(url, b"{}", {})

    assert (answer.is_delivered, answer.status) == (False, None)
    assert answer.error
    assert connects == []
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_name_that_leads_to_a_bad_address_is_not_connected_to(
    address: str, connects: list[Any], resolves: Callable[..., list[str]]
) -> None:
    for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
        resolves(answer)
        sent = transport.post("https://hooks.example.com/in", b"{}", {})
        assert "does not lead to a public address" in sent.error
        assert address not in sent.error

    assert connects == []


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_bad_address_itself_is_refused_by_its_shape(address: str, connects: list[Any]) -> None:
    for allowed in ("off", "loopback", "private"):
        if (
            allowed == "off"
            or "169.254" in address
            or "%" in address
            or address.startswith(("fd00:ec2", "fd20:ce", "2002", "64:", "::ffff"))
        ):
            assert not may_be_sent_to(address, allowed)
    host = f"[{address}]" if ":" in address else address

    assert transport.post(f"http://{host}/", b"{}", {}).error
    assert connects == []


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_sent_to(address: str, connects: list[Any], resolves: Callable[..., list[str]]) -> None:
    resolves([address])

    transport.post("https://hooks.example.com/in", b"{}", {})

    assert connects == [(address, 443)]


def test_what_the_settings_allow() -> None:
    assert may_be_sent_to("127.0.0.1", "loopback")
    assert may_be_sent_to("::1", "loopback")
    assert not may_be_sent_to("10.0.0.1", "loopback")
    assert may_be_sent_to("10.0.0.1", "private")
    assert may_be_sent_to("fd12::1", "private")
    assert not may_be_sent_to("169.254.169.254", "private")
    assert not may_be_sent_to("100.100.100.200", "private")
    assert not may_be_sent_to("0.0.0.0", "private")  # noqa: S104 - a payload
    assert not may_be_sent_to("localhost", "private")


def test_rebinding_gains_nothing(connects: list[Any], resolves: Callable[..., list[str]]) -> None:
    asked = resolves([PUBLIC], ["127.0.0.1"])

    transport.post("http://rebind.example.com/", b"{}", {})

    assert asked == ["rebind.example.com"]  # one question, and the connection goes where its answer said
    assert connects == [(PUBLIC, 80)]

    answer = transport.post("http://rebind.example.com/", b"{}", {})

    assert "does not lead to a public address" in answer.error
    assert connects == [(PUBLIC, 80)]


def test_redirect_to_this_machine_is_not_followed(receiver: Receiver, settings: Any, connects: list[Any]) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = "loopback"
    with a_receiver() as inner:
        for status in (301, 302, 303, 307, 308):
            receiver.answer = lambda _request, _socket, status=status: status
            receiver.headers = {"Location": inner.url("/admin")}
            transport.post(receiver.url(), b"{}", {})

        assert inner.received == []
    assert connects == [("127.0.0.1", receiver.port)] * 5


def test_http_is_refused_in_production(settings: Any, connects: list[Any], resolves: Callable[..., list[str]]) -> None:
    settings.PRODUCTION = True
    resolves([PUBLIC])

    assert "https://" in transport.post("http://hooks.example.com/", b"{}", {}).error
    assert connects == []


def test_line_breaks_in_headers_are_not_sent(receiver: Receiver, settings: Any) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = "loopback"

    with suppress(ValueError):
        assert not transport.post(receiver.url(), b"{}", {"X-Test": "a\r\nX-Injected: 1"}).is_delivered

    assert receiver.received == []
