"""Counting tries; the client's address."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from tenants.adapter import AccountAdapter
from tenants.models import User
from tenants.ratelimits import TooManyTries, client_address, limited


@pytest.fixture(autouse=True)
def _frozen_time() -> Iterator[None]:
    """Windows are fixed: a test that runs across the end of one would count twice."""
    with time_machine.travel(datetime(2026, 11, 21, 12, tzinfo=UTC), tick=False):
        yield


@limited(group="things", rate="2/m", key="user", method="POST")
def by_person(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


@limited(group="things", rate="2/m", key="ip", method="POST")
def by_address(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


@limited(group="things", rate="2/m", key="post:login", method="POST")
def by_field(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


def post(*, user: User | None = None, address: str = "192.0.2.1", **fields: str) -> HttpRequest:
    request = RequestFactory().post("/", fields, REMOTE_ADDR=address)
    request.user = user or AnonymousUser()
    return request


def tries(view: Any, requests: list[HttpRequest]) -> list[bool]:
    """For each request: whether it was let through."""
    outcomes = []
    for request in requests:
        try:
            view(request)
            outcomes.append(True)
        except TooManyTries:
            outcomes.append(False)
    return outcomes


def test_limit_counts_each_person(alice: User, charlie: User) -> None:
    assert tries(by_person, [post(user=alice)] * 3 + [post(user=charlie)]) == [True, True, False, True]


def test_limit_counts_anonymous_people_by_address() -> None:
    assert tries(by_person, [post()] * 3 + [post(address="192.0.2.2")]) == [True, True, False, True]


def test_limit_counts_a_field_without_regard_to_case() -> None:
    logins = ["a@x.y", " A@x.y ", "A@X.Y", "b@x.y"]

    assert tries(by_field, [post(login=login) for login in logins]) == [True, True, False, True]


def test_limit_does_not_count_requests_without_the_field() -> None:
    assert all(tries(by_field, [post()] * 5))


def test_limit_passes_other_methods() -> None:
    request = RequestFactory().get("/")

    assert all(tries(by_address, [request] * 5))


def test_limit_says_how_long() -> None:
    tries(by_address, [post()] * 2)

    with pytest.raises(TooManyTries) as caught:
        by_address(post())

    assert caught.value.group == "things"
    assert 1 <= caught.value.seconds <= 60


def test_limit_counts_ipv6_by_64() -> None:
    addresses = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::3", "2001:db8:1:3::1"]

    assert tries(by_address, [post(address=address) for address in addresses]) == [True, True, False, True]


def test_limit_tells_ipv4_clients_apart_that_come_as_ipv6() -> None:
    addresses = ["::ffff:192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1"]

    assert tries(by_address, [post(address=address) for address in addresses]) == [True, True, True, False]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, None, "10.0.0.9"),
        (0, "203.0.113.5", "10.0.0.9"),
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "1.1.1.1, 203.0.113.5", "203.0.113.5"),
        (2, "1.1.1.1, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
        (2, "203.0.113.5", "10.0.0.9"),
        (1, None, "10.0.0.9"),
        (1, "nonsense", "10.0.0.9"),
        (1, "203.0.113.5:4711", "203.0.113.5"),
        (1, "[2001:db8::1]:4711", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "::ffff:203.0.113.5", "203.0.113.5"),
    ],
)
def test_client_address_believes_own_proxies_alone(settings: Any, proxies: int, forwarded: str | None, expected: str) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="10.0.0.9")

    assert client_address(request) == expected
    assert AccountAdapter().get_client_ip(request) == expected


def test_client_address_of_a_unix_socket_is_one_bucket() -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) == "0.0.0.0"  # noqa: S104 - nothing is bound to it
