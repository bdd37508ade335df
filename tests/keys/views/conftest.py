"""What the tests of the tenant's pages start from."""

import time
from collections.abc import Callable

import django_ratelimit.core
import pytest
from django.test import Client

from keys.models import ApiKey, Tier
from tenants.models import Tenant, User
from tests.support.cast import PASSWORD
from tests.support.factories import bring_into_service, buy, make_tier

SignIn = Callable[[User], Client]


@pytest.fixture
def sign_in() -> SignIn:
    """A browser in which this person has just given their password."""

    def signed_in(user: User) -> Client:
        client = Client()
        answer = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
        assert answer.status_code == 302, answer.content[:500]
        return client

    return signed_in


@pytest.fixture
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate limits count in windows that begin by the clock: here none begins while the test counts."""
    end = int(time.time()) + 60
    monkeypatch.setattr(django_ratelimit.core, "_get_window", lambda _value, _period: end)


@pytest.fixture
def client_of_alice(sign_in: SignIn, alice: User) -> Client:
    return sign_in(alice)


@pytest.fixture
def client_of_bob(sign_in: SignIn, bob: User) -> Client:
    return sign_in(bob)


@pytest.fixture
def client_of_charlie(sign_in: SignIn, charlie: User) -> Client:
    return sign_in(charlie)


@pytest.fixture
def premium(db: None) -> Tier:
    """A tier whose keys have credentials of their own, with spares in service."""
    tier = make_tier(
        slug="premium",
        name="Premium",
        throttle_rate=100,
        throttle_burst=50,
        quota_limit=50_000,
        quota_period="MONTH",
        price_minor=6999,
        spare_target=3,
    )
    bring_into_service()
    return tier


@pytest.fixture
def free(db: None) -> Tier:
    """A tier whose keys share one credential."""
    tier = make_tier(slug="free", name="Free", pool_size=1)
    bring_into_service()
    return tier


@pytest.fixture
def shop(acme: Tenant, premium: Tier) -> ApiKey:
    """Acme's key of the premium tier."""
    return buy(acme, premium, name="Shop")


@pytest.fixture
def stall(acme: Tenant, free: Tier) -> ApiKey:
    """Acme's key of the free tier."""
    return buy(acme, free, name="Stall")
