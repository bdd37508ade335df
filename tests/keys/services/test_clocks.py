"""Web servers whose clocks are wrong: credentials end when they shall, and what staff ask for is done."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from keys.models import ApiKey, Credential, Gateway, GatewayKey, KeyRole, Status, Tier
from keys.services import api_keys, gateways, pools
from keys.sync import due
from tenants.audit import SYSTEM
from tests.support.clocks import OFFSETS, clock_off_by
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = [pytest.mark.django_db, pytest.mark.flow]  # "flow": on both databases
# Between two looks at a clock, on a machine that is busy with something else.
SLACK = timedelta(minutes=5)
GRACE = timedelta(minutes=15)


@pytest.fixture
def bought() -> ApiKey:
    """A siloed key that is ready, and a spare to rotate it to."""
    tier = make_tier()
    key = buy(make_tenant(), tier)
    Tier.objects.update(spare_target=1)
    bring_into_service()
    return ApiKey.objects.get(pk=key.pk)


def is_about(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < SLACK


def to_remove() -> list[GatewayKey]:
    return list(due.removals(Gateway.objects.get().pk, timezone.now()))


@pytest.mark.parametrize("offset", OFFSETS)
def test_grace_period_ends_when_it_was_told(offset: float, bought: ApiKey) -> None:
    old = bought.gateway_key_id
    with clock_off_by(offset):
        rotated = api_keys.rotate_and_reveal(api_key=bought, grace=GRACE, actor=SYSTEM)

    expected = timezone.now() + GRACE
    assert is_about(rotated.old_ends_at, expected)
    assert is_about(GatewayKey.objects.get(pk=old).ends_at, expected)
    assert is_about(Credential.objects.get(gateway_key=old).ends_at, expected)
    assert to_remove() == []
    with pytest.raises(api_keys.UnableToChangeKey, match="still works"):
        api_keys.rotate(api_key=rotated.api_key, grace=GRACE, actor=SYSTEM)


@pytest.mark.parametrize("offset", OFFSETS)
def test_rotation_without_grace_and_revocation_cut_off_at_once(offset: float, bought: ApiKey) -> None:
    with clock_off_by(offset):
        fresh = api_keys.rotate(api_key=bought, grace=timedelta(0), actor=SYSTEM).api_key
        assert [key.pk for key in to_remove()] == [bought.gateway_key_id]

        api_keys.revoke(api_key=fresh, actor=SYSTEM)

    assert {key.pk for key in to_remove()} == {bought.gateway_key_id, fresh.gateway_key_id}


@pytest.mark.parametrize("offset", OFFSETS)
def test_what_one_web_server_sold_another_ends(offset: float) -> None:
    """However far their clocks are apart, a credential ends no earlier than it began."""
    tier = make_tier()
    with clock_off_by(offset):
        key = buy(make_tenant(), tier)
    Credential.objects.update(created_at=timezone.now() + timedelta(seconds=offset))  # as one wrote it that went by its own clock

    api_keys.revoke(api_key=key, actor=SYSTEM)

    assert [each.pk for each in to_remove()] == [key.gateway_key_id]
    assert ApiKey.objects.get().status(timezone.now()) is Status.REVOKED


@pytest.mark.parametrize("offset", OFFSETS)
def test_purchase_is_dated_by_the_database(offset: float) -> None:
    tier = make_tier()
    with clock_off_by(offset):
        key = buy(make_tenant(), tier)

    assert is_about(key.created_at, timezone.now())
    assert is_about(Credential.objects.get().created_at, timezone.now())


@pytest.mark.parametrize("offset", OFFSETS)
def test_spare_in_service_is_sold_as_such(offset: float, bought: ApiKey) -> None:
    spare = GatewayKey.objects.get(role=KeyRole.SPARE)
    with clock_off_by(offset):
        key = buy(make_tenant(), bought.tier)

    assert key.gateway_key_id == spare.pk


@pytest.mark.parametrize("offset", OFFSETS)
def test_old_value_of_a_pool_ends_after_its_grace(offset: float) -> None:
    buy(make_tenant(), make_tier(pool_size=1))
    old = GatewayKey.objects.get()
    with clock_off_by(offset):
        pools.replace_pool_key(gateway_key=old, grace=GRACE, actor=SYSTEM)

    old.refresh_from_db()
    assert is_about(old.ends_at, timezone.now() + GRACE)
    assert is_about(Credential.objects.get(gateway_key=old).ends_at, timezone.now() + GRACE)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("dry_run", [False, True])
def test_comparison_that_staff_ask_for_is_due(offset: float, dry_run: bool) -> None:
    gateway = make_tier().usage_plans.get().gateway
    Gateway.objects.update(last_reconciled_at=timezone.now() - timedelta(minutes=1))
    with clock_off_by(offset):
        gateways.request_reconcile(gateway=gateway, actor=SYSTEM, dry_run=dry_run)
        gateways.request_check(gateway=gateway, actor=SYSTEM)

    gateway.refresh_from_db()
    asked = gateway.dry_run_requested_at if dry_run else gateway.reconcile_requested_at
    assert is_about(asked, timezone.now())
    assert due.comparison_is_due(gateway) if dry_run else due.reconcile_is_due(gateway, timezone.now())
    assert is_about(gateway.check_requested_at, timezone.now())
