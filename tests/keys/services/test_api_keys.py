from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from keys.models import ApiKey, FreeSlot, GatewayKey, Priority, Status
from keys.services import api_keys, catalog, gateways
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def siloed(**fields: int) -> ApiKey:
    key = buy(make_tenant(), make_tier(**fields))
    bring_into_service()
    return ApiKey.objects.get(pk=key.pk)


def pooled() -> ApiKey:
    key = buy(make_tenant(), make_tier(pool_size=2))
    bring_into_service()
    return ApiKey.objects.get(pk=key.pk)


def test_rename_keeps_both_names_in_the_trail() -> None:
    key = siloed()

    api_keys.rename(api_key=key, name="Till", description="At the door", actor=SYSTEM)

    key.refresh_from_db()
    assert (key.name, key.description) == ("Till", "At the door")
    assert AuditEvent.objects.get(action="api_key.renamed").data["before"]["name"] == "Shop"


def test_disable_wants_the_gateway_key_disabled_first_of_all() -> None:
    key = siloed()

    api_keys.disable(api_key=key, actor=SYSTEM)

    row = GatewayKey.objects.get(pk=key.gateway_key_id)
    assert (row.enabled, row.is_pending, row.priority) == (False, True, Priority.REVOKE)
    assert ApiKey.objects.get(pk=key.pk).status(timezone.now()) is Status.DISABLED


def test_disabling_twice_changes_nothing_more() -> None:
    key = siloed()
    api_keys.disable(api_key=key, actor=SYSTEM)
    revision = GatewayKey.objects.get(pk=key.gateway_key_id).revision

    api_keys.disable(api_key=key, actor=SYSTEM)

    assert GatewayKey.objects.get(pk=key.gateway_key_id).revision == revision
    assert AuditEvent.objects.filter(action="api_key.disabled").count() == 1


def test_enable_undoes_disable() -> None:
    key = siloed()
    api_keys.disable(api_key=key, actor=SYSTEM)

    api_keys.enable(api_key=key, actor=SYSTEM)

    assert GatewayKey.objects.get(pk=key.gateway_key_id).enabled is True
    assert ApiKey.objects.get(pk=key.pk).status(timezone.now()) is Status.READY


def test_rotate_lets_both_credentials_live_for_the_grace_period() -> None:
    key = siloed(spare_target=1)
    old = key.gateway_key

    api_keys.rotate(api_key=key, grace=timedelta(hours=1), actor=SYSTEM)

    key.refresh_from_db()
    old.refresh_from_db()
    assert key.gateway_key_id != old.pk
    assert timedelta(minutes=59) < old.ends_at - timezone.now() <= timedelta(hours=1)
    assert not old.is_pending
    assert key.credentials.count() == 2
    assert key.credentials.get(ends_at=None).gateway_key_id == key.gateway_key_id


def test_rotate_without_grace_ends_the_old_one_now() -> None:
    key = siloed(spare_target=1)
    old = key.gateway_key_id

    api_keys.rotate(api_key=key, grace=timedelta(0), actor=SYSTEM)

    assert list(GatewayKey.objects.due(timezone.now()).filter(pk=old).values_list("priority", flat=True)) == [Priority.REVOKE]


def test_rotate_refuses_a_second_time_within_the_grace_period() -> None:
    key = siloed(spare_target=2)
    api_keys.rotate(api_key=key, grace=timedelta(hours=1), actor=SYSTEM)

    with pytest.raises(api_keys.UnableToChangeKey, match="still works"):
        api_keys.rotate(api_key=key, grace=timedelta(hours=1), actor=SYSTEM)


@pytest.mark.parametrize("grace", [timedelta(days=8), timedelta(seconds=-1)])
def test_rotate_refuses_other_grace_periods(grace: timedelta) -> None:
    with pytest.raises(api_keys.UnableToChangeKey, match="at most 7 days"):
        api_keys.rotate(api_key=siloed(), grace=grace, actor=SYSTEM)


def test_rotate_refuses_a_disabled_key() -> None:
    key = siloed()
    api_keys.disable(api_key=key, actor=SYSTEM)

    with pytest.raises(api_keys.UnableToChangeKey, match="Enable it"):
        api_keys.rotate(api_key=key, grace=timedelta(0), actor=SYSTEM)


def test_disable_during_grace_disables_both_credentials() -> None:
    key = siloed(spare_target=1)
    old = key.gateway_key_id
    api_keys.rotate(api_key=key, grace=timedelta(hours=1), actor=SYSTEM)

    api_keys.disable(api_key=key, actor=SYSTEM)

    key.refresh_from_db()
    assert set(GatewayKey.objects.filter(enabled=False).values_list("pk", flat=True)) == {old, key.gateway_key_id}


def test_revoke_ends_every_credential() -> None:
    key = siloed(spare_target=1)
    old = key.gateway_key_id
    api_keys.rotate(api_key=key, grace=timedelta(hours=1), actor=SYSTEM)

    api_keys.revoke(api_key=key, actor=SYSTEM)

    key.refresh_from_db()
    now = timezone.now()
    assert set(GatewayKey.objects.filter(ends_at__lte=now).values_list("pk", flat=True)) == {old, key.gateway_key_id}
    assert not key.credentials.filter(ends_at=None).exists()
    assert AuditEvent.objects.get(action="api_key.revoked").data == {"cut_off": True}


@pytest.mark.parametrize("change", ["disable", "enable", "rotate", "reveal"])
def test_nothing_can_be_done_with_a_revoked_key(change: str) -> None:
    key = siloed()
    api_keys.revoke(api_key=key, actor=SYSTEM)
    key.refresh_from_db()
    extra = {"grace": timedelta(0)} if change == "rotate" else {}

    with pytest.raises(api_keys.UnableToChangeKey, match="revoked"):
        getattr(api_keys, change)(api_key=key, actor=SYSTEM, **extra)


def test_reveal_is_audited_without_the_value() -> None:
    key = siloed()

    value = api_keys.reveal(api_key=key, actor=SYSTEM)

    event = AuditEvent.objects.get(action="api_key.revealed")
    assert value not in str(vars(event))


def test_reveal_says_so_when_the_encryption_key_is_gone(settings: Any) -> None:
    key = siloed()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(api_keys.UnableToChangeKey, match="cannot be read just now"):
        api_keys.reveal(api_key=key, actor=SYSTEM)

    assert not AuditEvent.objects.filter(action="api_key.revealed").exists()


def test_pooled_key_cannot_be_disabled_or_rotated_on_its_own() -> None:
    key = pooled()

    with pytest.raises(api_keys.UnableToChangeKey, match="cannot be turned off"):
        api_keys.disable(api_key=key, actor=SYSTEM)
    with pytest.raises(api_keys.UnableToChangeKey, match="cannot be rotated on its own"):
        api_keys.rotate(api_key=key, grace=timedelta(0), actor=SYSTEM)

    assert GatewayKey.objects.filter(enabled=False).count() == 0


def test_revoking_a_pooled_key_frees_its_slot_and_leaves_the_pool_key() -> None:
    key = pooled()
    slot = key.slot

    api_keys.revoke(api_key=key, actor=SYSTEM)

    key.refresh_from_db()
    assert key.slot is None
    assert FreeSlot.objects.get().slot == slot
    assert GatewayKey.objects.get(pk=key.gateway_key_id).ends_at is None
    assert AuditEvent.objects.get(action="api_key.revoked").data == {"cut_off": False}


@pytest.mark.parametrize("message", ["disable", "rotate"])
def test_refusals_do_not_tell_how_a_tier_is_isolated(message: str) -> None:
    key = pooled()
    extra = {"grace": timedelta(0)} if message == "rotate" else {}

    with pytest.raises(api_keys.UnableToChangeKey) as refused:
        getattr(api_keys, message)(api_key=key, actor=SYSTEM, **extra)

    assert not any(word in str(refused.value).lower() for word in ("pool", "silo", "shared", "share"))


def test_rotated_key_stays_on_its_gateway() -> None:
    stage, roomier = make_stage(), make_stage(make_gateway(capacity=20_000), rest_api_id="other")
    tier = make_tier(stage=stage)
    api_key = buy(make_tenant(), tier)
    bring_into_service()
    catalog.serve_stages(tier=tier, stages=[stage, roomier], actor=SYSTEM)

    credential = api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    assert credential.gateway_key.gateway_id == stage.gateway_id


def test_rotation_on_a_gateway_that_takes_no_new_keys_is_refused_in_words_of_its_own() -> None:
    key = siloed()
    gateway = key.gateway_key.gateway
    gateways.change_gateway(gateway=gateway, accepts_keys=False, actor=SYSTEM)

    with pytest.raises(api_keys.UnableToChangeKey, match="not made for the time being"):
        api_keys.rotate(api_key=key, grace=timedelta(0), actor=SYSTEM)

    gateways.change_gateway(gateway=gateway, accepts_keys=True, capacity=1, actor=SYSTEM)
    with pytest.raises(api_keys.UnableToChangeKey, match="no room for another credential"):
        api_keys.rotate(api_key=key, grace=timedelta(0), actor=SYSTEM)
