"""Scenarios of crash points: what others did to the gateway, what befalls it, and what is looked up there."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

from django.test import override_settings
from django.utils import timezone

from keys.models import Adoption, AdoptionState, Gateway, GatewayKey, UsagePlan
from keys.proposals import Take
from keys.services import adoptions, api_keys, catalog, gateways
from keys.sync import canaries, converge
from keys.sync.adoption import look_at
from keys.sync.names import mark_of
from tenants.audit import SYSTEM
from tests.faults.world import World, attach, decisions_on, detach, foreign_plan, proposed, refusals_are_no_matter

# --- What others did to the gateway


def prepare_edits(world: World) -> None:
    """Somebody was at the console: one edit of each sort."""
    keys = world.buy(*[world.siloed] * 6)
    world.recover()
    aws = world.sandbox.client()
    deleted, disabled, detached, moved, renamed, _left = (GatewayKey.objects.get(pk=key.gateway_key_id) for key in keys)
    aws.delete_api_key(apiKey=deleted.remote_id)
    aws.update_api_key(apiKey=disabled.remote_id, patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
    detach(world, detached)
    detach(world, moved)
    attach(world, moved, world.pooled)
    aws.update_api_key(apiKey=renamed.remote_id, patchOperations=[{"op": "replace", "path": "/name", "value": "theirs"}])
    aws.create_api_key(name=f"{mark_of(world.gateway.pk)}{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex}", enabled=True)
    plan = UsagePlan.objects.get(tier=world.spared)
    aws.update_usage_plan(usagePlanId=plan.remote_id, patchOperations=[{"op": "replace", "path": "/throttle/rateLimit", "value": "7"}])
    foreign = aws.create_api_key(name="somebody's", enabled=True)["id"]
    world.made = {"foreign": foreign}


def reconcile(world: World) -> None:
    """Three times: what is quarantined by one is deleted by the next. The key of somebody else goes meanwhile."""
    converge.reconcile(world.gateway.pk)
    aws = world.sandbox.client()
    with suppress(aws.exceptions.NotFoundException):
        aws.delete_api_key(apiKey=world.made["foreign"])
    for _run in range(2):
        converge.reconcile(world.gateway.pk)


def forgotten(world: World) -> None:
    """It lost everything; then a list that is cut short."""
    world.sandbox.forget()
    Gateway.objects.update(last_seen_at=None)
    world.work()
    world.sandbox.fault(kind="truncate", size=1, operation="GetUsagePlans", count=1)
    converge.reconcile(world.gateway.pk)
    world.sandbox.clear_faults()


def lose_a_plan(world: World) -> None:
    key = world.buy(world.siloed)[0]
    world.sandbox.forget()
    Gateway.objects.update(last_seen_at=timezone.now(), last_reconciled_at=timezone.now())
    world.work()
    converge.reconcile(world.gateway.pk)
    assert key.pk


def trouble(world: World) -> None:
    """It refuses, breaks down, and is throttled: what is put off, and how often, is written down."""
    world.buy(world.siloed)
    world.sandbox.fault(kind="error", status=500, count=4)
    for _turn in range(5):
        world.work()
        GatewayKey.objects.update(next_try_at=None)
        Gateway.objects.update(resume_at=None)
    world.sandbox.fault(kind="error", status=500, operation=["CreateUsagePlan", "UpdateUsagePlan"], count=1)
    catalog.change_limits(
        tier=world.siloed,
        throttle_rate=Decimal(9_000 + uuid.uuid4().int % 900),
        throttle_burst=5_000,
        quota_limit=None,
        quota_period="",
        actor=SYSTEM,
    )
    world.work()
    world.sandbox.clear_faults()
    with override_settings(GATEWAY_PACING="aws"):
        world.sandbox.fault(kind="throttle", count=1)
        world.buy(world.siloed)
        world.work()
    world.sandbox.clear_faults()


def usage(world: World) -> None:
    world.sandbox.invoke(api_keys.reveal(api_key=world.made["keys"][0], actor=SYSTEM))
    Gateway.objects.update(usage_read_at=None)
    world.work()


def call_canaries(world: World) -> None:
    with override_settings(CANARY_SECONDS=1):
        world.work()
        UsagePlan.objects.update(canary_checked_at=None)
        canaries.call_canaries()
    world.work()  # they are switched off again, and end


def prepare_theirs(world: World) -> None:
    """Two plans of somebody else. An adoption that nobody went on with is withdrawn: it knows nothing of them."""
    for left in Adoption.objects.filter(gateway=world.gateway, withdrawn_at=None, applied_at=None, error=""):
        adoptions.withdraw(adoption=left, actor=SYSTEM)
    world.made = {"plans": [foreign_plan(world, uuid.uuid4().hex, uuid.uuid4().hex) for _plan in range(2)]}


def adopt(world: World) -> None:
    """Take over two plans: one as siloed API keys of new tenants, one as a pool."""
    look_at(world.gateway.pk, converge.go_first)
    with refusals_are_no_matter():
        asked = adoptions.ask(gateway=world.gateway, actor=SYSTEM)
        adoptions.withdraw(adoption=asked, actor=SYSTEM)
    adoption = proposed(world)
    if adoption is None:
        return
    decisions = decisions_on(adoption, world.made["plans"])
    if not decisions:
        return  # the one who was killed had taken them over already
    decisions = [replace(each, take=Take.POOLED if number else Take.SILOED) for number, each in enumerate(decisions)]
    with refusals_are_no_matter():
        adoptions.confirm(adoption=adoption, decisions=decisions, actor=SYSTEM)
    world.work()
    world.work()


def adopt_what_changed(world: World) -> None:
    """A plan is not any more what was decided about: nothing of it is taken over."""
    adoption = proposed(world)
    if adoption is None:
        return  # what the one who was killed had asked for was refused
    decisions = decisions_on(adoption, world.made["plans"])
    rate = str(1 + uuid.uuid4().int % 400)
    patch = [{"op": "replace", "path": "/throttle/rateLimit", "value": rate}]
    world.sandbox.client().update_usage_plan(usagePlanId=world.made["plans"][0], patchOperations=patch)
    with refusals_are_no_matter():
        adoptions.confirm(adoption=adoption, decisions=decisions, actor=SYSTEM)
    world.work()
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.FAILED, adoption.state
    members = world.sandbox.client().get_usage_plan_keys(usagePlanId=world.made["plans"][0])["items"]
    assert not GatewayKey.objects.filter(remote_id__in=[each["id"] for each in members]).exists()


# --- What the workers may do


def check_rights(world: World) -> None:
    """Looked up while a right lacks, and again when it was given."""
    for denied in (["GetUsage"], []):
        world.allow(*denied)
        gateways.request_check(gateway=world.gateway, actor=SYSTEM)
        world.work()
        found = Gateway.objects.get(pk=world.gateway.pk)
        assert [each["operation"] for each in found.permissions_missing] == denied


def revoke_without_the_right(world: World) -> None:
    """A role that may not delete keys can disable them: what is revoked is refused all the same, and deleted when that is allowed."""
    world.allow("DeleteApiKey")
    for each in world.made["keys"]:
        api_keys.revoke(api_key=each, actor=SYSTEM)
    world.work()
    assert {world.sandbox.invoke(value).status for value in world.made["values"]} == {403}
    world.allow()
    world.again()
    world.work()
