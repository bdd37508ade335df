"""Placing very many tenants in a pool at once."""

from contextlib import suppress

import pytest
from django.db import connection
from django.utils import timezone

from keys import selectors
from keys.models import ApiKey, Credential, FreeSlot, GatewayKey, Pool, Tier
from keys.models.tickets import free_unheld_slots, tickets_drawn
from keys.services import api_keys, bulk, catalog, purchases
from keys.services.refusals import UnableToBuyKey
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant, WebhookEndpoint
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier
from tests.support.processes import at_once

pytestmark = pytest.mark.django_db


def place(tier: Tier, *, chunk: int = 1000, name: str = "Key") -> list[tuple[int, int]]:
    parts = bulk.place_tenants(tier=tier, tenants=Tenant.objects.all(), name=name, actor=SYSTEM, chunk=chunk)
    return [(part.lacking, part.placed) for part in parts]


def spread(tier: Tier) -> int:
    loads = [load for _key, load in selectors.pool_loads(tier)]
    return max(loads) - min(loads)


def test_each_tenant_gets_one_evenly_and_as_if_it_had_bought_it() -> None:
    tier = make_tier(pool_size=7)
    tenants = [make_tenant() for _ in range(50)]

    assert place(tier, name="Welcome") == [(50, 50)]

    assert {each.tenant_id for each in ApiKey.objects.all()} == {each.pk for each in tenants}
    assert spread(tier) <= 1
    bought = buy(make_tenant(), tier, name="Welcome")
    own = {"id", "tenant_id", "gateway_key_id", "slot", "purchase_token", "created_at"}
    rows = ApiKey.objects.values(*(field.attname for field in ApiKey._meta.fields if field.attname not in own))
    assert rows.get(pk=bought.pk) == rows.exclude(pk=bought.pk)[0]
    credentials = Credential.objects.filter(ends_at=None, api_key__tenant__in=tenants)
    assert all(each.gateway_key_id == each.api_key.gateway_key_id for each in credentials.select_related("api_key"))
    assert credentials.count() == 50
    told = AuditEvent.objects.filter(action="api_key.bought").order_by("created_at")
    assert {each.target_id for each in told} == {str(pk) for pk in ApiKey.objects.values_list("pk", flat=True)}
    shapes = {(e.actor_label, e.action, e.target_type, e.target_label, str(e.data), e.request_id) for e in told}
    assert len(shapes) == 1


def test_holders_and_suspended_tenants_are_left_and_a_second_run_does_nothing() -> None:
    tier, other = make_tier(pool_size=2), make_tier(pool_size=1)
    holder, suspended, former, elsewhere = (make_tenant() for _ in range(4))
    kept = buy(holder, tier)
    api_keys.revoke(api_key=buy(former, tier), actor=SYSTEM)
    buy(elsewhere, other)
    Tenant.objects.filter(pk=suspended.pk).update(suspended_at=timezone.now())

    assert bulk.lacking(tier, Tenant.objects.all()).count() == 2
    assert place(tier) == [(2, 2)]
    assert place(tier) == [(0, 0)]

    assert set(ApiKey.objects.live().filter(tier=tier).values_list("tenant", flat=True)) == {holder.pk, former.pk, elsewhere.pk}
    assert ApiKey.objects.get(tenant=holder).pk == kept.pk


def test_places_that_were_left_are_filled_first() -> None:
    tier = make_tier(pool_size=3, max_api_keys=100)
    tenant = make_tenant()
    bought = [buy(tenant, tier) for _ in range(9)]
    left = {(each.gateway_key_id, each.slot) for each in bought[2:6]}
    for each in bought[2:6]:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    drawn = tickets_drawn(Pool.objects.get())
    for _ in range(6):
        make_tenant()

    assert place(tier) == [(6, 6)]

    assert not FreeSlot.objects.exists()
    assert tickets_drawn(Pool.objects.get()) == drawn + 2
    assert left <= set(ApiKey.objects.exclude(tenant=tenant).values_list("gateway_key", "slot"))
    assert spread(tier) <= 1


def test_chunks_are_committed_one_by_one_and_a_run_that_was_broken_off_is_finished_by_the_next() -> None:
    tier = make_tier(pool_size=3)
    for _ in range(10):
        make_tenant()
    run = bulk.place_tenants(tier=tier, tenants=Tenant.objects.all(), name="Key", actor=SYSTEM, chunk=4)

    assert (next(run).placed, ApiKey.objects.count()) == (4, 4)
    del run

    assert place(tier, chunk=4) == [(0, 0), (4, 4), (2, 2)]
    assert spread(tier) <= 1


def test_tenants_for_whom_the_pool_has_no_key_are_told_of_and_placed_by_the_next_run() -> None:
    tier = make_tier(pool_size=3)
    for _ in range(9):
        make_tenant()
    gone = GatewayKey.objects.get(position=1)
    GatewayKey.objects.filter(pk=gone.pk).update(ends_at=timezone.now())

    assert place(tier) == [(9, 6)]
    GatewayKey.objects.filter(pk=gone.pk).update(ends_at=None)
    assert place(tier) == [(3, 3)]


def test_webhooks_that_want_ready_keys_are_told_by_the_sweep() -> None:
    tier = make_tier(pool_size=2)
    listening, _deaf = make_tenant(), make_tenant()
    WebhookEndpoint.objects.create(tenant=listening, url="https://example.com/", types=["key.ready"])

    place(tier)

    assert [each.tenant for each in ApiKey.objects.filter(awaits_ready=True)] == [listening]


def test_what_cannot_be_placed_is_refused_before_anything_is_done() -> None:
    pooled, siloed = make_tier(pool_size=2), make_tier()
    make_tenant()
    with pytest.raises(UnableToBuyKey, match="siloed"):
        place(siloed)
    with pytest.raises(purchases.UnfitText):
        place(pooled, name=" ")
    catalog.retire_tier(tier=pooled, actor=SYSTEM)
    pooled.refresh_from_db()
    with pytest.raises(purchases.TierRetired):
        place(pooled)
    assert not ApiKey.objects.exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: SQLite has one writer at a time")
def test_two_runs_and_buyers_at_once_give_nobody_more_than_one() -> None:
    tier = make_tier(pool_size=7, max_api_keys=1)
    tenants = [make_tenant() for _ in range(90)]
    bring_into_service()

    def work(number: int) -> None:
        if number < 2:
            place(tier, chunk=11)
        else:
            for tenant in tenants[number::6]:
                with suppress(purchases.TooManyApiKeys):
                    buy(tenant, tier)

    at_once(work)

    assert sorted(each.tenant_id for each in ApiKey.objects.all()) == sorted(each.pk for each in tenants)
    pool = Pool.objects.get()
    free_unheld_slots(pool, first=0, end=-(-tickets_drawn(pool) // pool.size))
    assert spread(tier) <= 1
    assert connection.vendor == "postgresql"
