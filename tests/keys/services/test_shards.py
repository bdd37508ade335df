"""More siloed API keys than one account and Region holds, sold over three: ``python -m bench.shards`` does it with 25,000."""

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from keys.admin.alarms import alarms
from keys.models import GatewayKey, KeyRole
from keys.services import purchases
from tests.support.factories import buy, make_tenant
from tests.support.room import counts
from tests.support.sandbox import SandboxProcess
from tests.support.shards import open_shards, pending, sell, usable

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer at a time"),
]


def test_keys_are_sold_over_three_account_regions_to_the_last_place(
    sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY_PACING, settings.CANARY_SECONDS = "aws", 0
    monkeypatch.setattr("keys.services.bell._ring_now", lambda gateway_id: None)
    tier = open_shards(sandbox, capacity=100, spares=5)

    sold = sell(sandbox, tier, 180, batch=20)

    assert (sold.bought, sold.refused, sold.throttled) == (180, 0, {})
    assert sold.looks > 5
    assert max(sold.fullest.values()) <= 100
    assert (pending(), usable()) == (0, 180)
    held = [held for held, _rows, _capacity in counts()]
    assert sum(held) == 180 + 3 * 5
    assert max(held) - min(held) <= 25  # a batch and the spares: each went where most room was, and none is near its alarm
    assert not full()

    # The alarm comes at nine tenths of the cap; the last places are sold, those of the spares too.
    tenant = make_tenant()
    for _ in range(300 - 3 * 5 - 180 - 15):
        buy(tenant, tier)
    assert min(held for held, _rows, _capacity in counts()) >= 90
    assert len(full()) == 3
    for _ in range(30):
        buy(tenant, tier)
    assert GatewayKey.objects.filter(role=KeyRole.SILO).count() == 300
    assert [held for held, _rows, _capacity in counts()] == [100, 100, 100]
    with pytest.raises(purchases.NoRoom):
        buy(tenant, tier)


def full() -> list[str]:
    return [alarm.text for alarm in alarms(timezone.now()) if "Register another account" in alarm.text]
