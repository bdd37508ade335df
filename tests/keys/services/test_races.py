"""Purchases at the same moment, in real processes on PostgreSQL: what the locks and constraints of the services protect."""

import uuid
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction

from keys import selectors
from keys.models import ApiKey, Credential, FreeSlot, Gateway, GatewayKey, KeyRole, Pool, Tier
from keys.models.room import recount
from keys.models.tickets import free_unheld_slots, tickets_drawn
from keys.services import api_keys, catalog, pools, purchases, tenants
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.factories import bring_into_service, buy, keep_spares, make_tenant, make_tier
from tests.support.processes import at_once

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: SQLite has one writer at a time"),
]


def spread(tier: Tier) -> int:
    loads = [load for _key, load in selectors.pool_loads(tier)]
    return max(loads) - min(loads)


def fill_gaps(tier: Tier) -> None:
    """What the sweep does once every purchase is over."""
    pool = Pool.objects.get(tier=tier)
    free_unheld_slots(pool, first=0, end=-(-tickets_drawn(pool) // pool.size))


def test_eight_processes_buying_leave_an_even_pool() -> None:
    tier = make_tier(pool_size=7)
    tenants = [make_tenant() for _ in range(8)]
    Tier.objects.update(max_api_keys=1000)
    tier.refresh_from_db()

    at_once(lambda number: [buy(tenants[number], tier).pk for _ in range(30)])

    assert ApiKey.objects.count() == 240
    assert spread(tier) <= 1


def test_rolled_back_purchases_leave_gaps_that_are_sold_again() -> None:
    tier = make_tier(pool_size=7, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(8)]

    def work(number: int) -> None:
        for attempt in range(30):
            with transaction.atomic():
                buy(tenants[number], tier)
                transaction.set_rollback((attempt + number) % 5 == 0)

    at_once(work)
    fill_gaps(tier)
    while FreeSlot.objects.exists():
        buy(tenants[0], tier)

    assert spread(tier) <= 1


def test_tenant_buying_eight_times_at_once_gets_its_maximum() -> None:
    tier, tenant = make_tier(pool_size=2, max_api_keys=3), make_tenant()

    def work(_number: int) -> bool:
        try:
            return bool(buy(tenant, tier).pk)
        except purchases.TooManyApiKeys:
            return False

    assert sum(at_once(work)) == 3


def test_one_token_sent_eight_times_at_once_buys_once() -> None:
    tier, tenant, token = make_tier(pool_size=2), make_tenant(), uuid.uuid4()

    bought = at_once(lambda _number: str(buy(tenant, tier, purchase_token=token).pk))

    assert len(set(bought)) == 1
    assert ApiKey.objects.count() == 1


def test_last_spare_is_sold_once() -> None:
    tier = make_tier(spare_target=1)
    tenants = [make_tenant() for _ in range(8)]
    bring_into_service()
    spare = GatewayKey.objects.get(role=KeyRole.SPARE)

    taken = at_once(lambda number: buy(tenants[number], tier).gateway_key_id)

    assert taken.count(spare.pk) == 1
    assert len(set(taken)) == 8


def test_tenants_buying_while_the_pool_is_resized_all_stand_on_live_keys() -> None:
    tier = make_tier(pool_size=6, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(7)]

    def work(number: int) -> None:
        if number == 7:
            for size in (3, 8, 2, 5):
                pools.resize_pool(tier=tier, size=size, actor=SYSTEM)
        else:
            for _ in range(20):
                buy(tenants[number], Tier.objects.select_related("pool").get(pk=tier.pk))

    at_once(work)
    fill_gaps(tier)
    tenant = Tenant.objects.first()
    assert tenant is not None
    while FreeSlot.objects.exists():
        buy(tenant, tier)

    assert not ApiKey.objects.filter(revoked_at=None, gateway_key__ends_at__isnull=False).exists()
    assert spread(tier) <= 1
    assert connection.vendor == "postgresql"


def test_keys_revoked_while_their_pool_key_is_replaced_leave_no_place_and_no_credential_behind() -> None:
    tier = make_tier(pool_size=1, max_api_keys=1000)
    tenant = make_tenant()
    bought = [buy(tenant, tier) for _ in range(70)]

    def work(number: int) -> None:
        if number == 7:
            for _ in range(6):
                key = GatewayKey.objects.get(pool__tier=tier, ends_at=None)
                pools.replace_pool_key(gateway_key=key, grace=timedelta(0), actor=SYSTEM)
        else:
            for api_key in bought[number * 10 : number * 10 + 10]:
                api_keys.revoke(api_key=api_key, actor=SYSTEM)

    at_once(work)

    assert not FreeSlot.objects.filter(gateway_key__ends_at__isnull=False).exists()
    assert not Credential.objects.filter(api_key__revoked_at__isnull=False, ends_at=None).exists()


def test_keys_revoked_while_their_pool_shrinks_leave_no_place_behind() -> None:
    tier = make_tier(pool_size=8, max_api_keys=1000)
    tenant = make_tenant()
    bought = [buy(tenant, tier) for _ in range(70)]

    def work(number: int) -> None:
        if number == 7:
            for size in (6, 4, 2):
                pools.resize_pool(tier=tier, size=size, actor=SYSTEM)
        else:
            for api_key in bought[number::7]:
                api_keys.revoke(api_key=api_key, actor=SYSTEM)

    at_once(work)

    assert ApiKey.objects.filter(revoked_at=None).count() == 0
    assert not FreeSlot.objects.filter(gateway_key__ends_at__isnull=False).exists()


def test_tier_retired_while_it_is_sold_keeps_no_spare() -> None:
    tier = make_tier(spare_target=3, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(7)]
    bring_into_service()

    def work(number: int) -> None:
        if number == 7:
            for _ in range(10):
                catalog.retire_tier(tier=tier, actor=SYSTEM)
                catalog.reopen_tier(tier=tier, actor=SYSTEM)
                bring_into_service()
            catalog.retire_tier(tier=tier, actor=SYSTEM)
        else:
            for _ in range(30):
                with suppress(purchases.TierRetired):
                    buy(tenants[number], tier)

    at_once(work)
    keep_spares()

    assert not GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at=None).exists()
    assert not [gateway.pk for gateway in Gateway.objects.all() if recount(gateway.pk)]


def test_target_raised_while_spares_are_sold_is_not_exceeded() -> None:
    tier = make_tier(spare_target=1, max_api_keys=1000)
    tenants = [make_tenant() for _ in range(7)]
    offer = {field: getattr(tier, field) for field in catalog.OFFER}

    def work(number: int) -> None:
        if number == 7:
            catalog.change_offer(tier=tier, actor=SYSTEM, **{**offer, "spare_target": 20})
        else:
            for _ in range(10):
                buy(tenants[number], tier)

    at_once(work)

    assert GatewayKey.objects.filter(role=KeyRole.SPARE, ends_at=None).count() <= 20


def test_key_rotated_eight_times_at_once_is_rotated_once() -> None:
    tier = make_tier()
    api_key = buy(make_tenant(), tier)
    bring_into_service()

    def work(_number: int) -> bool:
        try:
            return bool(api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM))
        except api_keys.UnableToChangeKey:
            return False

    assert sum(at_once(work)) == 1
    assert Credential.objects.filter(api_key=api_key, ends_at=None).count() == 1


def test_tenant_suspended_while_it_acts_keeps_no_enabled_key_of_its_own() -> None:
    tier, tenant = make_tier(max_api_keys=1000, spare_target=5), make_tenant()
    bought = [buy(tenant, tier) for _ in range(14)]
    bring_into_service()

    def work(number: int) -> None:
        if number == 7:
            for _ in range(5):
                tenants.suspend(tenant=tenant, reason="Race", actor=SYSTEM)
                tenants.resume(tenant=tenant, actor=SYSTEM)
            tenants.suspend(tenant=tenant, reason="Race", actor=SYSTEM)
            return
        mine = bought[number::7]
        for _ in range(15):
            with suppress(purchases.TenantSuspended):
                buy(tenant, tier)
            for change in (
                lambda: api_keys.disable(api_key=mine[0], actor=SYSTEM),
                lambda: api_keys.enable(api_key=mine[0], actor=SYSTEM),
                lambda: api_keys.rotate(api_key=mine[1], grace=timedelta(0), actor=SYSTEM),
            ):
                with suppress(api_keys.UnableToChangeKey):
                    change()
        api_keys.revoke(api_key=mine[1], actor=SYSTEM)

    at_once(work)

    living = GatewayKey.objects.filter(credentials__api_key__tenant=tenant, credentials__ends_at=None)
    assert living.exists()
    assert not living.filter(enabled=True).exists()
    tenants.resume(tenant=tenant, actor=SYSTEM)
    assert not living.filter(enabled=True, credentials__api_key__disabled_at__isnull=False).exists()
    assert not living.filter(enabled=False, credentials__api_key__disabled_at=None).exists()


def test_worker_that_writes_outcomes_does_not_block_a_suspension() -> None:
    """Both write many gateway keys, in orders of their own: each locks the gateway's row first."""
    tier, tenant = make_tier(max_api_keys=1000), make_tenant()
    purchases.buy_many(tenant=tenant, items=[purchases.Item(tier=tier, name="Shop") for _ in range(300)], actor=SYSTEM)
    ids = list(GatewayKey.objects.order_by("-pk").values_list("pk", flat=True))

    def work(number: int) -> None:
        for _ in range(10):
            if number == 0:
                tenants.suspend(tenant=tenant, reason="Race", actor=SYSTEM)
                tenants.resume(tenant=tenant, actor=SYSTEM)
            else:
                with transaction.atomic():
                    Gateway.objects.update(lease_expires_at=None)  # as the lease does when it is renewed
                    for part in (ids[::2], ids[1::2]):
                        GatewayKey.objects.filter(pk__in=part).update(attempts=number)

    at_once(work, 3)

    assert GatewayKey.objects.filter(enabled=True).count() == 300


def test_batches_and_purchases_at_once_respect_the_maximum_exactly() -> None:
    tenant = make_tenant()
    tiers = [make_tier(pool_size=3, max_api_keys=100), make_tier(max_api_keys=40, spare_target=3)]
    bring_into_service()

    def work(number: int) -> int:
        if number % 2:
            items = [purchases.Item(tier=tier, name="Shop") for tier in (tiers if number % 4 == 1 else tiers[::-1]) for _ in range(30)]
            outcomes = purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)
            return sum(isinstance(outcome, ApiKey) for outcome in outcomes)
        done = 0
        for attempt in range(20):
            with suppress(purchases.TooManyApiKeys):
                buy(tenant, tiers[attempt % 2])
                done += 1
        return done

    counts = at_once(work)

    assert sum(counts) == ApiKey.objects.count() == 140
    assert [tier.api_keys.count() for tier in tiers] == [100, 40]
    assert spread(tiers[0]) <= 1
    assert ApiKey.objects.filter(tier=tiers[1]).values("gateway_key").distinct().count() == 40


def test_batches_of_different_tenants_never_take_one_spare_or_place_twice() -> None:
    pooled, siloed = make_tier(pool_size=3, max_api_keys=1000), make_tier(max_api_keys=1000, spare_target=40)
    buyers = [make_tenant() for _ in range(8)]
    bring_into_service()

    def work(number: int) -> None:
        tiers = [pooled, siloed] if number % 2 else [siloed, pooled]
        for _ in range(4):
            outcomes = purchases.buy_many(
                tenant=buyers[number], items=[purchases.Item(tier=tier, name="Shop") for tier in tiers for _ in range(10)], actor=SYSTEM
            )
            assert all(isinstance(outcome, ApiKey) for outcome in outcomes)

    at_once(work)

    assert ApiKey.objects.filter(tier=pooled).count() == ApiKey.objects.filter(tier=siloed).count() == 320
    assert spread(pooled) <= 1
    assert GatewayKey.objects.filter(role=KeyRole.SILO).count() == 320


def test_one_batch_sent_eight_times_at_once_buys_once() -> None:
    tenant, tier = make_tenant(), make_tier(pool_size=2, max_api_keys=1000)
    items = [purchases.Item(tier=tier, name="Shop") for _ in range(50)]

    answers = at_once(lambda _number: [str(each.pk) for each in purchases.buy_many(tenant=tenant, items=items, actor=SYSTEM)])

    assert all(answer == answers[0] for answer in answers)
    assert ApiKey.objects.count() == 50
