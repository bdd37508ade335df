"""Row 13 of the fault matrix: 100 buyers, one spare. ``LAST_SPARE_ROUNDS=1000`` for the long run."""

import multiprocessing
import os
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from keys.models import ApiKey, Gateway, GatewayKey, KeyRole, Status, Tier
from keys.services import purchases
from tenants.audit import SYSTEM
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier
from tests.support.processes import at_once

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer at a time"),
]

ROUNDS = int(os.environ.get("LAST_SPARE_ROUNDS", "3"))
BUYERS, AT_ONCE = 100, 20  # PostgreSQL takes 100 connections, and others want some
_fork = multiprocessing.get_context("fork")


def test_one_of_a_hundred_buyers_gets_the_last_spare_and_the_others_are_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each round 20 processes begin at the same moment, five buyers each: one gets the spare, 99 get keys that are being made."""
    monkeypatch.setattr("keys.services.bell._ring_now", lambda gateway_id: None)
    tenants = [make_tenant() for _ in range(BUYERS)]
    tiers = [make_tier(spare_target=1) for _ in range(ROUNDS)]
    Gateway.objects.update(capacity=2 * ROUNDS * BUYERS)  # room is for others to lack
    bring_into_service()
    barrier = _fork.Barrier(AT_ONCE)

    def work(number: int) -> list[list[Any]]:
        bought = []
        for tier in tiers:
            barrier.wait(60)
            bought.append([buy(tenant, tier).gateway_key_id for tenant in tenants[number::AT_ONCE]])
        return bought

    spares = {spare.usage_plan.tier_id: spare.pk for spare in GatewayKey.objects.filter(role=KeyRole.SPARE).select_related("usage_plan")}
    answers = at_once(work, AT_ONCE)

    for turn, tier in enumerate(tiers):
        taken = [gateway_key_id for answer in answers for gateway_key_id in answer[turn]]
        assert len(taken) == len(set(taken)) == BUYERS
        assert taken.count(spares[tier.pk]) == 1
        assert queued(tier) == BUYERS - 1


def queued(tier: Tier) -> int:
    """API keys that are being made, as their tenants are shown them."""
    now = timezone.now() + timedelta(seconds=1)
    rows = ApiKey.objects.filter(tier=tier).select_related("gateway_key", "tenant")
    return sum(each.status(now) is Status.PREPARING for each in rows)


def test_batch_takes_the_spares_that_there_are_and_the_rest_is_queued() -> None:
    tier = make_tier(spare_target=3, max_api_keys=100)
    bring_into_service()

    purchases.buy_many(tenant=make_tenant(), items=[purchases.Item(tier=tier, name="Shop") for _ in range(10)], actor=SYSTEM)

    assert (ApiKey.objects.count(), queued(tier)) == (10, 7)
