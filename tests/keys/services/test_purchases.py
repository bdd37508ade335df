import uuid
from collections import Counter

import pytest
from django.utils import timezone

from keys.models import ApiKey, Credential, GatewayKey, KeyRole, Status
from keys.services import api_keys, catalog, purchases
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import bring_into_service, buy, keep_spares, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def test_pooled_purchase_is_ready_at_once() -> None:
    tier = make_tier(pool_size=2)
    bring_into_service()

    api_key = buy(make_tenant(), tier)

    assert ApiKey.objects.select_related("gateway_key").get(pk=api_key.pk).status(timezone.now()) is Status.READY


def test_siloed_purchase_without_a_spare_is_preparing() -> None:
    api_key = buy(make_tenant(), make_tier())

    assert api_key.status(timezone.now()) is Status.PREPARING
    assert api_key.gateway_key.role == KeyRole.SILO


def test_siloed_purchase_takes_a_spare_and_another_is_made() -> None:
    tier = make_tier(spare_target=2)
    bring_into_service()
    spares = set(GatewayKey.objects.filter(role=KeyRole.SPARE).values_list("pk", flat=True))

    api_key = buy(make_tenant(), tier)
    keep_spares()

    assert api_key.gateway_key_id in spares
    assert api_key.gateway_key.role == KeyRole.SILO
    assert api_key.status(timezone.now()) is Status.READY
    assert GatewayKey.objects.filter(role=KeyRole.SPARE).count() == 2


def test_spare_that_is_not_in_service_is_not_sold() -> None:
    tier = make_tier(spare_target=1)
    keep_spares()

    api_key = buy(make_tenant(), tier)

    assert GatewayKey.objects.filter(role=KeyRole.SPARE).count() == 1
    assert api_key.gateway_key.role == KeyRole.SILO


def test_ten_keys_spread_evenly_over_a_pool_of_five() -> None:
    tier = make_tier(pool_size=5)

    keys = [buy(make_tenant(), tier) for _ in range(10)]

    assert sorted(Counter(key.gateway_key_id for key in keys).values()) == [2, 2, 2, 2, 2]


def test_two_keys_of_a_pool_of_one_carry_the_same_value() -> None:
    tier = make_tier(pool_size=1)
    first, second = buy(make_tenant(), tier), buy(make_tenant(), tier)

    assert api_keys.reveal(api_key=first, actor=SYSTEM) == api_keys.reveal(api_key=second, actor=SYSTEM)


def test_ten_siloed_keys_make_ten_gateway_keys() -> None:
    tenant, tier = make_tenant(), make_tier(max_api_keys=10)

    keys = [buy(tenant, tier) for _ in range(10)]

    assert len({key.gateway_key_id for key in keys}) == 10


def test_freed_slot_is_sold_before_a_new_one() -> None:
    tenant, tier = make_tenant(), make_tier(pool_size=3)
    keys = [buy(tenant, tier) for _ in range(6)]
    api_keys.revoke(api_key=keys[4], actor=SYSTEM)

    again = buy(tenant, tier)

    assert (again.gateway_key_id, again.slot) == (keys[4].gateway_key_id, keys[4].slot)


def test_same_token_buys_once() -> None:
    tenant, tier, token = make_tenant(), make_tier(pool_size=1), uuid.uuid4()

    first = buy(tenant, tier, purchase_token=token)
    second = buy(tenant, tier, purchase_token=token, name="Another name")

    assert first.pk == second.pk
    assert ApiKey.objects.count() == Credential.objects.count() == 1
    assert AuditEvent.objects.filter(action="api_key.bought").count() == 1


def test_same_token_of_another_tenant_is_another_purchase() -> None:
    tier, token = make_tier(pool_size=1), uuid.uuid4()

    keys = [buy(make_tenant(), tier, purchase_token=token) for _ in range(2)]

    assert keys[0].pk != keys[1].pk


def test_maximum_counts_live_keys_of_the_tenant_alone() -> None:
    tenant, tier = make_tenant(), make_tier(pool_size=1, max_api_keys=2)
    buy(make_tenant(), tier)
    first, _second = buy(tenant, tier), buy(tenant, tier)

    with pytest.raises(purchases.TooManyApiKeys, match="You have 2 keys"):
        buy(tenant, tier)
    api_keys.revoke(api_key=first, actor=SYSTEM)

    assert buy(tenant, tier).pk


def test_retired_tier_is_not_sold() -> None:
    tier = make_tier(pool_size=1)
    catalog.retire_tier(tier=tier, actor=SYSTEM)
    tier.refresh_from_db()

    with pytest.raises(purchases.TierRetired, match="no longer sold"):
        buy(make_tenant(), tier)


def test_full_gateway_refuses_and_leaves_nothing() -> None:
    tier = make_tier(stage=make_stage(make_gateway(capacity=1)))
    buy(make_tenant(), tier)

    with pytest.raises(purchases.NoRoom, match="no room"):
        buy(make_tenant(), tier)

    assert ApiKey.objects.count() == GatewayKey.objects.count() == 1


def test_siloed_keys_go_where_most_room_is() -> None:
    small, large = make_stage(make_gateway(capacity=3)), make_stage(make_gateway(capacity=10))
    tier = make_tier(stage=small)
    catalog.serve_stages(tier=tier, stages=[small, large], actor=SYSTEM)

    key = buy(make_tenant(), tier)

    assert key.gateway_key.gateway == large.gateway


def test_value_is_stored_encrypted_and_found_by_its_digest() -> None:
    from keys import values

    api_key = buy(make_tenant(), make_tier(pool_size=1))
    value = api_keys.reveal(api_key=api_key, actor=SYSTEM)
    row = GatewayKey.objects.get(value_sha256=values.digest(value))

    assert row.pk == api_key.gateway_key_id
    assert value not in row.value_encrypted
    assert row.last_four == value[-4:]
