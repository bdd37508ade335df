"""Limits on allauth's pages, and what happens while their cache is down."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client

from tenants.models import User
from tests.portal.ports import closed_port
from tests.support.cast import PASSWORD
from tests.support.services import redis_broker


@pytest.fixture(autouse=True)
def _frozen_time() -> Iterator[None]:
    """Windows are fixed: a test that runs across the end of one would count twice."""
    with time_machine.travel(datetime(2026, 11, 21, 12, tzinfo=UTC), tick=False):
        yield


def sign_in(client: Client, email: str, password: str = "wrong", address: str = "198.51.100.7") -> Any:
    return client.post("/accounts/login/", {"login": email, "password": password}, REMOTE_ADDR=address)


@pytest.fixture
def no_allauth_limits(settings: Any) -> None:
    """Ours alone, so that they are what a test sees."""
    settings.ACCOUNT_RATE_LIMITS = False


def test_sign_in_is_limited_by_address(client: Client, no_allauth_limits: None, db: None) -> None:
    answers = [sign_in(client, f"person{number}@example.com").status_code for number in range(31)]

    assert answers == [200] * 30 + [429]


def test_sign_in_is_limited_by_account_from_any_address(client: Client, no_allauth_limits: None, alice: User) -> None:
    emails = ["alice@example.com", " Alice@Example.com"]
    answers = [sign_in(client, emails[number % 2], address=f"198.51.100.{number}").status_code for number in range(21)]

    assert answers == [200] * 20 + [429]
    assert sign_in(client, "bob@example.com", address="198.51.100.99").status_code == 200


def test_limited_page_says_which_limit_and_when_again(client: Client, no_allauth_limits: None, db: None) -> None:
    for number in range(31):
        answer = sign_in(client, f"person{number}@example.com")

    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "signing in" in answer.text


def test_failed_sign_ins_are_limited_by_allauth_too(client: Client, alice: User) -> None:
    for number in range(5):
        sign_in(client, alice.email, address=f"198.51.100.{number}")

    answer = sign_in(client, alice.email, PASSWORD, address="198.51.100.50")

    assert "Too many tries to sign in" in answer.text
    assert "_auth_user_id" not in client.session


def test_allauth_shows_our_page_with_retry_after(client: Client, settings: Any, db: None) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    sign_in(client, "one@example.com")

    answer = sign_in(client, "two@example.com")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"


def test_pages_are_not_limited(client: Client, db: None) -> None:
    assert {client.get("/accounts/login/").status_code for _ in range(40)} == {200}


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("/accounts/signup/", {"email": "new@example.com", "password1": "long-enough-word", "tenant_name": "New"}),
        ("/accounts/password/reset/", {"email": "new@example.com"}),
    ],
)
def test_mails_to_one_address_are_limited(client: Client, no_allauth_limits: None, db: None, url: str, fields: dict[str, str]) -> None:
    answers = [client.post(url, fields, REMOTE_ADDR=f"198.51.100.{number}").status_code for number in range(6)]

    assert answers == [302] * 5 + [429]


def test_reauthentication_is_limited_by_person(client: Client, no_allauth_limits: None, alice: User) -> None:
    client.force_login(alice)
    answers = [client.post("/accounts/reauthenticate/", {"password": "wrong"}).status_code for _ in range(11)]

    assert answers == [200] * 10 + [429]


@pytest.fixture
def dead_cache(settings: Any) -> None:
    """The cache is a Redis server where nothing listens."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{closed_port()}/0",
            "OPTIONS": {"socket_connect_timeout": 1},
        }
    }


@pytest.mark.parametrize("url", ["/", "/tiers/", "/docs/", "/accounts/login/", "/accounts/signup/", "/healthz"])
def test_public_pages_do_not_need_the_cache(client: Client, dead_cache: None, db: None, url: str) -> None:
    assert client.get(url).status_code == 200


def test_sign_in_with_the_right_password_is_503_while_the_cache_is_down(client: Client, dead_cache: None, alice: User) -> None:
    answer = sign_in(client, alice.email, PASSWORD)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "_auth_user_id" not in client.session
    assert "Not available at the moment" in answer.text


@pytest.mark.parametrize("url", ["/accounts/signup/", "/accounts/password/reset/", "/accounts/reauthenticate/"])
def test_guarded_actions_are_503_while_the_cache_is_down(client: Client, dead_cache: None, alice: User, url: str) -> None:
    if "reauthenticate" in url:
        client.force_login(alice)
    fields = {"email": "new@example.com", "password": PASSWORD, "password1": PASSWORD, "tenant_name": "New"}

    assert client.post(url, fields).status_code == 503
    assert User.objects.count() == 1


@pytest.mark.redis
def test_limits_count_in_redis(client: Client, settings: Any, tmp_path: Path, no_allauth_limits: None, db: None) -> None:
    with redis_broker(tmp_path) as empty:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": empty.url}}

        answers = [sign_in(client, f"person{number}@example.com").status_code for number in range(31)]

    assert answers == [200] * 30 + [429]
