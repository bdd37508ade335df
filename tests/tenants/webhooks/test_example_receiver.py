"""The receiver that the docs show, as a process of its own (fault matrix, row 15): forged and stale requests are refused, and ten
replays in any order have one effect."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from tenants.audit import SYSTEM
from tenants.models import DeliveryState, Tenant, WebhookDelivery, WebhookEndpoint
from tenants.webhooks import endpoints, signing
from tenants.webhooks.deliver import deliver_due, request_for
from tests.support.services import ROOT, free_port, wait_until
from tests.tenants.webhooks.conftest import tell

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


class Example:
    """``examples/receive_webhooks.py`` with its database."""

    def __init__(self, folder: Path, endpoint: WebhookEndpoint, url: str) -> None:
        self.endpoint = endpoint
        self.url = url
        self._database = folder / "webhooks.sqlite3"

    def rows(self, table: str) -> list[Any]:
        with sqlite3.connect(self._database) as database:
            return sorted(database.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608 - a name of this file's own

    def post(self, headers: dict[str, str], body: bytes) -> int:
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code


@pytest.fixture
def example(acme: Tenant, tmp_path: Path) -> Iterator[Example]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    endpoint, secret = endpoints.register(tenant=acme, url=url, types=["key.revoked"], actor=SYSTEM)
    script = ROOT / "examples" / "receive_webhooks.py"
    assert len(script.read_text().splitlines()) < 40
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "WEBHOOK_DATABASE": str(tmp_path / "webhooks.sqlite3"), "PORT": str(port)}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    made = Example(tmp_path, endpoint, url)
    try:
        wait_until(lambda: answers(url), what="the example")
        yield made
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1)  # noqa: S310 - loopback
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False
    return True


def test_ten_replays_in_any_order_have_one_effect(example: Example, acme: Tenant) -> None:
    for status in ("preparing", "ready", "revoked"):
        tell(acme, "key-1", status=status)
    tell(acme, "key-2", status="ready")
    deliver_due()
    assert {delivery.state for delivery in WebhookDelivery.objects.all()} == {DeliveryState.DELIVERED}
    after_first = example.rows("keys"), example.rows("seen")
    assert [(key, status) for key, status, _at in after_first[0]] == [("key-1", "revoked"), ("key-2", "ready")]
    assert len(after_first[1]) == 4

    for _ in range(10):
        deliveries = list(WebhookDelivery.objects.all())
        random.shuffle(deliveries)
        for delivery in deliveries:
            endpoints.replay(delivery=delivery, actor=SYSTEM)
            deliver_due()

    assert (example.rows("keys"), example.rows("seen")) == after_first


def test_reordered_events_end_in_the_newest_state(example: Example, acme: Tenant) -> None:
    events = [tell(acme, "key-1", status=status) for status in ("preparing", "ready", "revoked")]
    for place, event in enumerate(events):
        event.created_at += timedelta(seconds=place)

    for event in (events[2], events[0], events[1]):
        assert example.post(*request_for(example.endpoint, event, timezone.now())) == 204

    assert [row[:2] for row in example.rows("keys")] == [("key-1", "revoked")]


def forged_body(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return headers, body.replace(b"ready", b"revoked")


def foreign_secret(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {**headers, **signing.headers_for([signing.new_secret()], headers["webhook-id"], int(headers["webhook-timestamp"]), body)}, body


def other_id(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {**headers, "webhook-id": "another"}, body


def fresh_time(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body


def unsigned(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {name: value for name, value in headers.items() if not name.startswith("webhook-")}, body


def garbage(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {**headers, "webhook-signature": "v1,", "webhook-timestamp": "soon"}, body


@pytest.mark.parametrize("forge", [forged_body, foreign_secret, other_id, fresh_time, unsigned, garbage])
def test_forged_requests_are_refused(example: Example, acme: Tenant, forge: Callable[..., Any]) -> None:
    headers, body = request_for(example.endpoint, tell(acme, "key-1", status="ready"), timezone.now())

    assert example.post(*forge(headers, body)) == 401

    assert example.rows("seen") == example.rows("keys") == []
    assert example.post(headers, body) == 204


@pytest.mark.parametrize("minutes", [-6, 6])
def test_stale_requests_are_refused(example: Example, acme: Tenant, minutes: int) -> None:
    event = tell(acme, "key-1", status="ready")

    assert example.post(*request_for(example.endpoint, event, timezone.now() + timedelta(minutes=minutes))) == 401

    assert example.rows("seen") == []
    assert json.loads(request_for(example.endpoint, event, timezone.now())[1])["data"]["status"] == "ready"
