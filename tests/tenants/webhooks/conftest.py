"""Endpoints, and deliveries without a broker."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenants.audit import SYSTEM
from tenants.models import EventType, Tenant, WebhookEndpoint
from tenants.webhooks import endpoints
from tests.support.receiver import receiver

__all__ = ["receiver"]

ALL = [str(each) for each in endpoints.TYPES]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bells: tests send what is due themselves. Jitter is the same in each run."""
    monkeypatch.setattr("tenants.webhooks.bell._ring_now", lambda: None)
    random.seed(7)


class Clock:
    """A clock that tests move. It begins a little ahead: what the test writes is due."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(seconds=5)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def register(acme: Tenant) -> Callable[..., WebhookEndpoint]:
    """Register an endpoint of Acme."""

    def make(url: str = "https://hooks.example.com/in", types: list[str] | None = None, tenant: Tenant = acme) -> WebhookEndpoint:
        return endpoints.register(tenant=tenant, url=url, types=types or ALL, actor=SYSTEM)[0]

    return make


def tell(tenant: Tenant, subject: str = "key-1", type_: EventType = EventType.KEY_REVOKED, **data: Any) -> Any:
    from tenants.webhooks.emit import emit  # beside its one use

    return emit(tenant.pk, type_, subject, {"id": subject, **data})
