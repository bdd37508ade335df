"""People who have just signed in through the page, so that secrets are shown to them without asking again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from tenants.audit import SYSTEM
from tenants.models import Tenant, User, WebhookEndpoint
from tenants.webhooks import endpoints
from tests.support.cast import PASSWORD
from tests.support.receiver import receiver

__all__ = ["receiver"]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """No bells: tests send what is due themselves, to this machine. Limits begin at nought."""
    monkeypatch.setattr("tenants.webhooks.bell._ring_now", lambda: None)
    settings.WEBHOOK_PRIVATE_ADDRESSES = "loopback"
    cache.clear()


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client = Client()
        client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
        return client

    return sign_in


@pytest.fixture
def as_alice(signed_in: Callable[[User], Client], alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def webhook(acme: Tenant) -> WebhookEndpoint:
    """Of Acme."""
    return endpoints.register(tenant=acme, url="https://hooks.example.com/in", types=["key.ready"], actor=SYSTEM)[0]
