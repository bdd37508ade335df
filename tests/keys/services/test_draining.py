"""Draining a gateway: what moves, who is told, and what stays."""

import time
from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from keys.drains import drain_of, stuck_pool_keys
from keys.models import ApiKey, Credential, Gateway, GatewayKey, KeyRole, Priority, Tier, UsagePlan
from keys.services import api_keys, draining, gateways, pools, purchases
from keys.sync.draining import go_on_with_drains, move_pool_keys, move_siloed_keys
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tenant, make_tier
from tests.support.processes import at_once
from tests.support.room import counts

pytestmark = pytest.mark.django_db


@pytest.fixture
def here() -> Gateway:
    gateway = make_gateway(name="Here")
    make_stage(gateway, invoke_url="https://here.example.com/v1")
    return gateway


@pytest.fixture
def there() -> Gateway:
    gateway = make_gateway(name="There")
    make_stage(gateway, invoke_url="https://there.example.com/v1")
    return gateway


def gateway_of(api_key: ApiKey) -> Gateway:
    return ApiKey.objects.select_related("gateway_key__gateway").get(pk=api_key.pk).gateway_key.gateway


def assert_room_is_exact() -> None:
    assert [held for held, _rows, _cap in counts()] == [rows for _held, rows, _cap in counts()]


def last_event(api_key: ApiKey) -> AuditEvent:
    return AuditEvent.objects.filter(target_id=str(api_key.pk)).latest("created_at")


def test_pools_move_with_everybody_on_them_who_is_told_the_new_url(here: Gateway, there: Gateway) -> None:
    tier = make_tier(gateways=[here, there], pool_size=4, max_api_keys=100)
    tenant = make_tenant()
    bought = [buy(tenant, tier, name=f"Key {number}") for number in range(20)]
    bring_into_service()
    stood = {each.pk: gateway_of(each) for each in bought}
    draining.drain(gateway=here, actor=SYSTEM)

    go_on_with_drains(Gateway.objects.all())

    assert not GatewayKey.objects.filter(gateway=here, ends_at=None).exists()
    for api_key in bought:
        assert gateway_of(api_key) == there
        event = last_event(api_key)
        if stood[api_key.pk] == here:
            assert (event.action, event.data["endpoint"]) == ("api_key.moved", "https://there.example.com/v1")
            assert api_key.credentials.filter(ends_at=None).count() == 1
            [old] = api_key.credentials.filter(ends_at__isnull=False)
            assert timedelta(days=6) < old.ends_at - timezone.now() <= timedelta(days=7)
        else:
            assert event.action == "api_key.bought"
    loads = [each.api_keys.count() for each in GatewayKey.objects.filter(pool__tier=tier, ends_at=None)]
    assert (len(loads), sum(loads), max(loads) - min(loads)) == (4, 20, 0)
    assert_room_is_exact()


def test_pool_of_which_no_other_gateway_has_room_stays_and_others_move(here: Gateway, there: Gateway) -> None:
    alone = make_tier(gateways=[here], pool_size=3)
    both = make_tier(gateways=[here, there], pool_size=2)
    bring_into_service()
    draining.drain(gateway=here, actor=SYSTEM)

    assert move_pool_keys(here.pk) == GatewayKey.objects.filter(gateway=here, pool__tier=both).count()

    drain = drain_of(here)
    assert (drain.pool_keys, drain.stuck) == (3, 3)
    assert GatewayKey.objects.filter(pool__tier=alone, gateway=here, ends_at=None).count() == 3
    assert any("cannot move" in line for line in drain.lines)


def test_full_gateway_takes_no_more_than_it_has_room_for(here: Gateway, there: Gateway) -> None:
    tier = make_tier(gateways=[here, there], pool_size=10)
    bring_into_service()
    held = GatewayKey.objects.filter(gateway=there).count()
    Gateway.objects.filter(pk=there.pk).update(capacity=held + 2)
    draining.drain(gateway=here, actor=SYSTEM)

    assert (move_pool_keys(here.pk), move_pool_keys(here.pk)) == (2, 0)

    assert GatewayKey.objects.filter(pool__tier=tier, ends_at=None).count() == 10
    assert drain_of(here).pool_keys == 10 - held - 2
    assert_room_is_exact()


def test_nothing_new_comes_to_a_drained_gateway(here: Gateway, there: Gateway) -> None:
    tier = make_tier(gateways=[here, there], spare_target=3)
    bring_into_service()
    draining.drain(gateway=here, actor=SYSTEM)
    bring_into_service()

    bought = [buy(make_tenant(), tier) for _each in range(4)]

    assert {gateway_of(each) for each in bought} == {there}
    assert not GatewayKey.objects.filter(gateway=here, ends_at=None).exists()
    with pytest.raises(gateways.UnableToChangeGateway, match="drained"):
        gateways.change_gateway(gateway=here, accepts_keys=True, actor=SYSTEM)
    with pytest.raises(pools.UnableToChangePool):
        pools.resize_pool(tier=make_tier(gateways=[there], pool_size=1), size=0, actor=SYSTEM)


def test_undrained_gateway_takes_keys_again(here: Gateway) -> None:
    tier = make_tier(gateways=[here])
    draining.drain(gateway=here, actor=SYSTEM)
    with pytest.raises(purchases.NoRoom):
        buy(make_tenant(), tier)

    draining.undrain(gateway=here, actor=SYSTEM)

    assert gateway_of(buy(make_tenant(), tier)) == here
    assert [event.action for event in AuditEvent.objects.filter(target_id=str(here.pk)).order_by("created_at")][-2:] == [
        "gateway.drained",
        "gateway.undrained",
    ]


def test_rotation_leaves_a_drained_gateway_and_says_the_new_url(here: Gateway, there: Gateway) -> None:
    tier = make_tier(gateways=[here])
    api_key = buy(make_tenant(), tier)
    bring_into_service()
    tier.stages.add(there.stages.get())
    add_plan(tier, there)
    draining.drain(gateway=here, actor=SYSTEM)

    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    assert gateway_of(api_key) == there
    assert last_event(api_key).data["endpoint"] == "https://there.example.com/v1"


def test_rotation_elsewhere_keeps_the_url(here: Gateway, there: Gateway) -> None:
    api_key = buy(make_tenant(), make_tier(gateways=[here, there]))
    bring_into_service()
    before = gateway_of(api_key)

    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    assert gateway_of(api_key) == before
    assert "endpoint" not in last_event(api_key).data


@pytest.fixture
def silo(here: Gateway, there: Gateway) -> Tier:
    """Siloed; what was bought of it stands on the first gateway, but could stand on the second."""
    tier = make_tier(gateways=[here], max_api_keys=100)
    tenant = make_tenant()
    for number in range(5):
        buy(tenant, tier, name=f"Key {number}")
    bring_into_service()
    tier.stages.add(there.stages.get())
    add_plan(tier, there)
    bring_into_service()
    return tier


def let_all_move(gateway: Gateway) -> None:
    draining.drain(gateway=gateway, actor=SYSTEM)
    draining.move_siloed(gateway=gateway, actor=SYSTEM)


def test_siloed_keys_stay_until_staff_let_them_move(here: Gateway, there: Gateway, silo: Tier) -> None:
    with pytest.raises(gateways.UnableToChangeGateway, match="Drain the gateway first"):
        draining.move_siloed(gateway=here, actor=SYSTEM)
    draining.drain(gateway=here, actor=SYSTEM)

    go_on_with_drains(Gateway.objects.all())

    drain = drain_of(here)
    assert (drain.siloed, drain.leaving, drain.moves_siloed_since) == (5, 0, None)
    assert any("5 siloed API keys: they stay" in line for line in drain.lines)
    for _twice in range(2):
        draining.move_siloed(gateway=here, actor=SYSTEM)
    assert drain_of(here).moves_siloed_since is not None
    go_on_with_drains(Gateway.objects.all())
    assert (drain_of(here).siloed, drain_of(here).leaving) == (0, 5)
    assert AuditEvent.objects.filter(action="gateway.siloed_keys_move", target_id=str(here.pk)).count() == 1


def test_workers_move_siloed_keys_in_parts_until_none_is_left(here: Gateway, there: Gateway, silo: Tier) -> None:
    let_all_move(here)

    assert [move_siloed_keys(here.pk, most=2) for _ in range(4)] == [2, 2, 1, 0]

    for api_key in ApiKey.objects.filter(tier=silo):
        assert gateway_of(api_key) == there
        event = last_event(api_key)
        assert (event.action, event.actor, event.data["endpoint"]) == ("api_key.moved", None, "https://there.example.com/v1")
        assert api_key.credentials.get(ends_at=None).gateway_key == api_key.gateway_key
        old = api_key.credentials.get(ends_at__isnull=False)
        assert timedelta(days=6) < old.ends_at - timezone.now() <= timedelta(days=7)
        assert old.gateway_key.ends_at == old.ends_at
        # Nobody waits for it: the old one is answered.
        assert (api_key.gateway_key.role, api_key.gateway_key.priority) == (KeyRole.SILO, Priority.SPARE)
    drain = drain_of(here)
    assert (drain.siloed, drain.siloed_stuck, drain.leaving, drain.held) == (0, 0, 5, 5)
    assert_room_is_exact()


@pytest.mark.parametrize("trouble", ["no plan", "left alone", "between two pauses"])
def test_nothing_moves_to_where_no_key_can_be_made(here: Gateway, there: Gateway, silo: Tier, trouble: str) -> None:
    make_tier(gateways=[here, there], pool_size=2)
    bring_into_service()
    let_all_move(here)
    if trouble == "no plan":
        UsagePlan.objects.filter(gateway=there).update(remote_id="", permanent=True)
    else:
        seconds = 20 if trouble == "left alone" else -1
        Gateway.objects.filter(pk=there.pk).update(failures=3, resume_at=timezone.now() + timedelta(seconds=seconds))

    go_on_with_drains(Gateway.objects.all())

    drain = drain_of(here)
    assert (drain.siloed, drain.siloed_stuck, drain.pool_keys, drain.stuck, drain.leaving) == (5, 5, 1, 1, 0)
    assert stuck_pool_keys() == {here.pk: 1}
    assert_room_is_exact()

    Gateway.objects.update(failures=0, resume_at=None)
    bring_into_service()
    go_on_with_drains(Gateway.objects.all())
    drain = drain_of(here)
    assert (drain.siloed, drain.siloed_stuck, drain.pool_keys, drain.stuck, drain.leaving) == (0, 0, 0, 0, 6)


def test_no_more_siloed_keys_move_while_those_that_moved_wait_for_their_keys(
    here: Gateway, there: Gateway, silo: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a gateway where the workers lack the right to make keys."""
    monkeypatch.setattr("keys.sync.draining.MOST_WAITING", 3)
    let_all_move(here)

    assert [move_siloed_keys(here.pk, most=2) for _sweep in range(3)] == [2, 1, 0]

    GatewayKey.objects.filter(gateway=there, synced_revision=0).update(permanent=True)
    assert move_siloed_keys(here.pk) == 0
    made = GatewayKey.objects.filter(gateway=there, role=KeyRole.SILO).first()
    GatewayKey.objects.filter(pk=made.pk).update(synced_revision=F("revision"), in_service_at=timezone.now())
    assert [move_siloed_keys(here.pk) for _sweep in range(2)] == [1, 0]
    bring_into_service()
    assert move_siloed_keys(here.pk) == 1


def test_sweep_goes_on_with_siloed_keys_and_finds_the_gateway_that_they_move_to(here: Gateway, there: Gateway, silo: Tier) -> None:
    Gateway.objects.update(**dict.fromkeys(("last_seen_at", "usage_read_at", "last_reconciled_at"), timezone.now()))
    UsagePlan.objects.filter(gateway=there).update(remote_id="plan", synced_revision=F("revision"))
    assert there.pk not in sweep()
    let_all_move(here)

    sweep()

    assert {gateway_of(each) for each in ApiKey.objects.filter(tier=silo)} == {there}
    assert there.pk in sweep()


def test_nothing_more_is_moved_when_the_time_of_a_sweep_is_over(here: Gateway, there: Gateway, silo: Tier) -> None:
    make_tier(gateways=[here, there], pool_size=2)
    let_all_move(here)

    go_on_with_drains(Gateway.objects.all(), until=time.monotonic())

    assert (drain_of(here).siloed, drain_of(here).pool_keys) == (5, 1)


def test_undrain_stops_what_moves(here: Gateway, silo: Tier) -> None:
    let_all_move(here)
    assert move_siloed_keys(here.pk, most=2) == 2

    draining.undrain(gateway=here, actor=SYSTEM)

    go_on_with_drains(Gateway.objects.all())
    assert move_siloed_keys(here.pk) == 0
    assert drain_of(here).siloed == 3


def test_siloed_keys_that_cannot_move_yet_are_counted_and_follow(here: Gateway, there: Gateway, silo: Tier) -> None:
    keys = list(ApiKey.objects.filter(tier=silo).order_by("created_at"))
    api_keys.disable(api_key=keys[0], actor=SYSTEM)
    api_keys.rotate(api_key=keys[1], grace=timedelta(hours=1), actor=SYSTEM)
    bring_into_service()
    alone = buy(make_tenant(), make_tier(gateways=[here]))
    bring_into_service()
    let_all_move(here)

    go_on_with_drains(Gateway.objects.all())

    drain = drain_of(here)
    assert (drain.siloed, drain.siloed_stuck) == (3, 3)
    assert any("3 of them cannot move for now" in line for line in drain.lines)
    assert {gateway_of(each) for each in (*keys[:2], alone)} == {here}

    api_keys.enable(api_key=keys[0], actor=SYSTEM)
    bring_into_service()
    Credential.objects.filter(api_key=keys[1], ends_at__isnull=False).update(ends_at=F("created_at"))
    go_on_with_drains(Gateway.objects.all())
    assert (drain_of(here).siloed, drain_of(here).siloed_stuck) == (1, 1)
    assert {gateway_of(each) for each in keys} == {there}


def test_siloed_keys_take_neither_spares_nor_more_room_than_there_is(here: Gateway, there: Gateway, silo: Tier) -> None:
    Tier.objects.filter(pk=silo.pk).update(spare_target=2)
    bring_into_service()  # fills up the spares
    spares = GatewayKey.objects.filter(gateway=there, role=KeyRole.SPARE, ends_at=None).count()
    held = GatewayKey.objects.filter(gateway=there).count()
    Gateway.objects.filter(pk=there.pk).update(capacity=held + 2)
    let_all_move(here)

    assert (move_siloed_keys(here.pk), move_siloed_keys(here.pk)) == (2, 0)

    assert GatewayKey.objects.filter(gateway=there, role=KeyRole.SPARE, ends_at=None).count() == spares
    assert drain_of(here).siloed == 3
    for api_key in ApiKey.objects.filter(tier=silo):
        assert api_key.credentials.filter(ends_at=None, gateway_key=api_key.gateway_key).count() == 1
    assert_room_is_exact()


def test_command_drains_moves_and_shows_progress(here: Gateway, there: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    tier = make_tier(gateways=[here, there], pool_size=4)
    silo = make_tier(gateways=[here, there])
    buy(make_tenant(), tier)
    buy(make_tenant(), silo)
    bring_into_service()

    call_command("drain_gateway", "Here", dry_run=True)
    assert "not drained" in capsys.readouterr().out
    assert drain_of(here).since is None

    call_command("drain_gateway", f"{here.account_id}:{here.region}", move_siloed=True)
    out = capsys.readouterr().out
    assert "Gateway Here, drained since" in out
    go_on_with_drains(Gateway.objects.all())
    assert (drain_of(here).pool_keys, drain_of(here).siloed) == (0, 0)

    capsys.readouterr()
    call_command("drain_gateway", "Here", undrain=True, dry_run=True)
    out = capsys.readouterr().out
    assert "Gateway Here, drained since" in out
    assert "Nothing was changed: this was a dry run." in out
    assert drain_of(here).since is not None

    call_command("drain_gateway", "Here", undrain=True)
    assert (drain_of(here).since, drain_of(here).moves_siloed_since) == (None, None)
    with pytest.raises(CommandError, match=r"No gateway is named Nowhere\. There are: Here, There\."):
        call_command("drain_gateway", "Nowhere")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_buyers_and_several_sweeps_at_once_lose_nobody(here: Gateway, there: Gateway) -> None:
    """Race: each pool key is replaced once, and who buys meanwhile stands on a key that stays."""
    tier = make_tier(gateways=[here, there], pool_size=6, max_api_keys=1000)
    tenant = make_tenant()
    for number in range(12):
        buy(tenant, tier, name=f"Before {number}")
    bring_into_service()
    draining.drain(gateway=here, actor=SYSTEM)

    def work(number: int) -> None:
        if number < 6:
            buy(tenant, tier, name=f"Meanwhile {number}")
        else:
            move_pool_keys(here.pk)

    at_once(work, 9)

    assert connection.vendor == "postgresql"
    while move_pool_keys(here.pk):
        pass
    live = GatewayKey.objects.filter(pool__tier=tier, ends_at=None)
    assert sorted(live.values_list("position", flat=True)) == list(range(6))
    assert set(live.values_list("gateway", flat=True)) == {there.pk}
    assert ApiKey.objects.filter(tier=tier, gateway_key__in=live).count() == 18
    for api_key in ApiKey.objects.filter(tier=tier):
        assert api_key.credentials.filter(ends_at=None, gateway_key=api_key.gateway_key).count() == 1
    assert_room_is_exact()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_tenants_and_several_sweeps_at_once_move_each_siloed_key_once(here: Gateway, there: Gateway, silo: Tier) -> None:
    """Race: tenants revoke and rotate what is being moved."""
    keys = list(ApiKey.objects.filter(tier=silo).order_by("created_at"))
    let_all_move(here)

    def work(number: int) -> None:
        if number == 0:
            api_keys.revoke(api_key=keys[0], actor=SYSTEM)
        elif number == 1:
            with suppress(api_keys.UnableToChangeKey):
                api_keys.rotate(api_key=keys[4], grace=timedelta(hours=1), actor=SYSTEM)
        else:
            move_siloed_keys(here.pk)

    at_once(work, 6)

    while drain_of(here).siloed:
        move_siloed_keys(here.pk)
    assert not keys[0].credentials.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now())).exists()
    for api_key in ApiKey.objects.live().filter(tier=silo):
        assert gateway_of(api_key) == there
        assert api_key.credentials.filter(ends_at=None, gateway_key=api_key.gateway_key).count() == 1
        assert api_key.credentials.count() == 2
    assert_room_is_exact()


def add_plan(tier: Tier, gateway: Gateway) -> None:
    """As if the tier had been made for both gateways."""
    UsagePlan.objects.get_or_create(tier=tier, gateway=gateway)
