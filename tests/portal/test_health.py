"""Signs of life."""

import time
from datetime import timedelta

import pytest
from celery import current_app
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from keys import selectors
from tests.portal.ports import closed_port
from tests.support.services import Broker


def test_healthz_asks_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # No ``db`` fixture: any query would fail the test.
    answer = client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_readyz_is_ready(client: Client, db: None) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": True, "broker": True, "oldest_pending_seconds": None}


def test_readyz_reports_rows_that_wait_too_long(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "oldest_pending_at", lambda: timezone.now() - timedelta(seconds=400))

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert 400 <= answer.json()["oldest_pending_seconds"] < 410


def test_readyz_accepts_rows_that_wait_a_little(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "oldest_pending_at", lambda: timezone.now() - timedelta(seconds=4))

    assert client.get("/readyz").json()["status"] == "ready"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_readyz_without_broker_is_503_soon(client: Client, db: None, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    port = closed_port()
    monkeypatch.setattr(current_app.conf, "broker_url", f"{scheme}://somebody:hunter2@127.0.0.1:{port}//")
    started = time.monotonic()

    answer = client.get("/readyz")

    assert time.monotonic() - started < 5
    assert answer.status_code == 503
    assert answer.json()["broker"] is False
    assert answer.json()["database"] is True
    assert b"127.0.0.1" not in answer.content
    assert b"hunter2" not in answer.content


def test_readyz_reaches_every_kind_of_broker(client: Client, db: None, broker: Broker) -> None:
    answer = client.get("/readyz")

    assert answer.json()["broker"] is True


def test_readyz_without_database_is_503(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise OperationalError("connection to server at db.internal failed")

    monkeypatch.setattr(selectors, "oldest_pending_at", down)
    monkeypatch.setattr("portal.views.health.connection.close", lambda: None)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "database": False, "broker": True, "oldest_pending_seconds": None}


@pytest.mark.parametrize("url", ["/healthz", "/readyz"])
def test_signs_of_life_are_read_only(client: Client, db: None, url: str) -> None:
    assert client.post(url).status_code == 405
