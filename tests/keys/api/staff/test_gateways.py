"""/staff/gateways and their stages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from keys.models import Gateway, GatewayKey, Stage
from keys.sync.draining import go_on_with_drains
from tenants.models import AuditEvent, Tenant
from tests.keys.api.staff.conftest import told
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tier

pytestmark = pytest.mark.django_db

FRANKFURT = {"name": "Frankfurt", "account_id": "123456789012", "region": "eu-central-1"}
SHOP = {"rest_api_id": "shop", "name": "prod", "invoke_url": "https://api.example.com/prod/"}


def test_gateway_is_registered(staff: ApiClient) -> None:
    made = staff.post("/staff/gateways", {**FRANKFURT, "capacity": 500})
    shown = made.json()
    assert (made.status_code, made["Location"]) == (201, f"/api/v1/staff/gateways/{shown['id']}")
    assert {name: shown[name] for name in ("capacity", "headroom", "keys_held", "propagation_seconds", "lease", "last_seen_at")} == {
        "capacity": 500,
        "headroom": 500,
        "keys_held": 0,
        "propagation_seconds": 60,
        "lease": None,
        "last_seen_at": None,
    }
    assert shown["breaker"] == {"open": False, "failures": 0, "resume_at": None}
    assert AuditEvent.objects.get(action="gateway.registered").target_label == "Frankfurt"

    again = staff.post("/staff/gateways", {**FRANKFURT, "name": "Other"})
    assert told(again)[:2] == (409, "refused")
    assert "gateway_once_an_account_and_region" in told(again)[2] or "already exists" in told(again)[2]


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"account_id": "123"}, "account_id", "12 digits"),
        ({"account_id": 123456789012}, "account_id", "has to be a text"),
        ({"account_id": "\u0661" * 12}, "account_id", "12 digits"),
        ({"region": "us-east-\u0661"}, "region", "us-east-1"),
        ({"region": "Frankfurt"}, "region", "us-east-1"),
        ({"capacity": 0}, "capacity", "greater than or equal to 1"),
        ({"name": ""}, "name", "blank"),
    ],
)
def test_wrong_fields_of_a_gateway_are_named(staff: ApiClient, fields: dict[str, Any], field: str, said: str) -> None:
    [error] = staff.post("/staff/gateways", {**FRANKFURT, **fields}).json()["errors"]
    assert error["field"] == field
    assert said in error["detail"]


def test_what_workers_see_is_told(staff: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    buy(acme, tier)
    gateway = tier.stages.get().gateway
    now = timezone.now()
    Gateway.objects.update(
        lease_owner="worker-1",
        lease_expires_at=now + timedelta(minutes=1),
        last_seen_at=now,
        failures=3,
        resume_at=now + timedelta(minutes=5),
        last_error="The gateway answered 503.",
        last_error_at=now,
    )
    shown = staff.get(f"/staff/gateways/{gateway.pk}").json()
    assert (shown["keys_held"], shown["usage_plans_pending"], shown["gateway_keys_pending"]) == (1, 1, 1)
    assert shown["lease"]["owner"] == "worker-1"
    assert (shown["breaker"]["open"], shown["breaker"]["failures"]) == (True, 3)
    assert shown["last_error"] == "The gateway answered 503."

    Gateway.objects.update(lease_expires_at=now, resume_at=now)
    bring_into_service()
    shown = staff.get(f"/staff/gateways/{gateway.pk}").json()
    assert (shown["lease"], shown["usage_plans_pending"], shown["gateway_keys_pending"]) == (None, 0, 0)
    assert shown["breaker"] == {"open": False, "failures": 3, "resume_at": None}


def test_gateway_says_what_waits_and_about_how_long(staff: ApiClient) -> None:
    gateway = make_gateway()
    make_tier(gateways=[gateway], pool_size=3)
    Gateway.objects.update(pace=0.5)
    path = f"/staff/gateways/{gateway.pk}"

    shown = staff.get(path).json()
    assert (shown["backlog"], shown["pace"]) == ({"gateway_keys": 3, "usage_plans": 1, "calls": 5, "seconds": 2.0}, 0.5)

    changed = staff.patch(path, {"uses_imports": False}).json()
    assert (changed["uses_imports"], changed["backlog"]["calls"]) == (False, 8)
    assert staff.get("/staff/gateways").json()["data"][0]["backlog"] == changed["backlog"]
    Gateway.objects.update(resume_at=timezone.now() + timedelta(minutes=1))
    assert staff.get(path).json()["backlog"]["seconds"] is None


def test_gateway_changes_by_version(staff: ApiClient) -> None:
    gateway = make_gateway(name="Old")
    path = f"/staff/gateways/{gateway.pk}"
    etag = staff.get(path)["ETag"]
    Gateway.objects.update(last_seen_at=timezone.now())  # what workers see makes no other version

    changed = staff.patch(path, {"name": "New", "accepts_keys": False}, If_Match=etag)
    assert (changed.status_code, changed.json()["name"], changed.json()["accepts_keys"]) == (200, "New", False)
    assert changed["ETag"] != etag
    assert told(staff.patch(path, {"capacity": 9}, If_Match=etag))[:2] == (412, "precondition-failed")
    assert Gateway.objects.get().capacity == 10_000
    assert staff.patch(path, {}, If_Match=changed["ETag"]).json() == changed.json()
    assert told(staff.patch(path, {"region": "us-east-1"}))[:2] == (400, "invalid-fields")


def test_name_that_is_taken_is_refused(staff: ApiClient) -> None:
    make_gateway(name="Taken")
    gateway = make_gateway()
    assert told(staff.patch(f"/staff/gateways/{gateway.pk}", {"name": "Taken"})) == (
        409,
        "refused",
        "name: Gateway with this Name already exists.",
    )


def test_reconcile_and_try_again_are_accepted(staff: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    key = buy(acme, tier).gateway_key
    GatewayKey.objects.update(last_error="Refused.", permanent=True)
    path = f"/staff/gateways/{key.gateway_id}"

    asked = staff.post(f"{path}/reconcile")
    assert (asked.status_code, asked.json()["reconcile_requested_at"] is not None) == (202, True)
    assert staff.post(f"{path}/try-again", {}).status_code == 202
    assert GatewayKey.objects.get().permanent is False
    assert set(AuditEvent.objects.filter(target_type="gateway").values_list("action", flat=True)) >= {
        "gateway.reconcile_requested",
        "gateway.retried",
    }


def test_stage_is_registered_listed_and_changed(staff: ApiClient) -> None:
    gateway = make_gateway()
    make_stage(make_gateway())
    made = staff.post(f"/staff/gateways/{gateway.pk}/stages", SHOP)
    shown = made.json()
    assert (made.status_code, made["Location"]) == (201, f"/api/v1/staff/stages/{shown['id']}")
    assert (shown["invoke_url"], shown["test_path"]) == ("https://api.example.com/prod", "/api")
    assert staff.get(f"/staff/gateways/{gateway.pk}/stages").json()["data"] == [shown]

    path = f"/staff/stages/{shown['id']}"
    etag = staff.get(path)["ETag"]
    changed = staff.patch(path, {"test_path": "/ping"}, If_Match=etag)
    assert (changed.json()["test_path"], changed.json()["invoke_url"]) == ("/ping", "https://api.example.com/prod")
    assert changed["ETag"] == staff.get(path)["ETag"]
    assert told(staff.patch(path, {"test_path": "/pong"}, If_Match=etag))[:2] == (412, "precondition-failed")
    assert Stage.objects.get(pk=shown["id"]).test_path == "/ping"

    again = staff.post(f"/staff/gateways/{gateway.pk}/stages", SHOP)
    assert told(again)[:2] == (409, "refused")


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"invoke_url": "api.example.com"}, "invoke_url", "whole URL"),
        ({"invoke_url": "ftp://example.com"}, "invoke_url", "whole URL"),
        ({"test_path": "api"}, "test_path", "slash"),
        ({"rest_api_id": ""}, "rest_api_id", "blank"),
    ],
)
def test_wrong_fields_of_a_stage_are_named(staff: ApiClient, fields: dict[str, Any], field: str, said: str) -> None:
    gateway = make_gateway()
    [error] = staff.post(f"/staff/gateways/{gateway.pk}/stages", {**SHOP, **fields}).json()["errors"]
    assert error["field"] == field
    assert said in error["detail"]


def test_stages_need_the_gateways_permission_too(clerk: Callable[..., ApiClient]) -> None:
    stage = make_stage()
    client = clerk("keys.add_stage", "keys.change_stage")
    needed = (403, "forbidden", "This needs the right keys.change_gateway.")
    assert told(client.post(f"/staff/gateways/{stage.gateway_id}/stages", SHOP)) == needed
    assert told(client.patch(f"/staff/stages/{stage.pk}", {"test_path": "/ping"})) == needed


def test_stages_are_walked_in_pages(staff: ApiClient) -> None:
    gateway = make_gateway()
    for number in range(5):
        make_stage(gateway, name=f"v{number}")
    seen, url = [], f"/staff/gateways/{gateway.pk}/stages?limit=2"
    while url:
        page = staff.get(url).json()
        seen += [row["name"] for row in page["data"]]
        url = page["next"]
    assert sorted(seen) == ["v0", "v1", "v2", "v3", "v4"]


def test_gateways_are_filtered(staff: ApiClient) -> None:
    ours = make_gateway(region="eu-west-1")
    Gateway.objects.filter(pk=ours.pk).update(accepts_keys=False)
    make_gateway()
    for query in ("region=eu-west-1", "accepts_keys=false", f"account_id={ours.account_id}"):
        assert [row["id"] for row in staff.get(f"/staff/gateways?{query}").json()["data"]] == [str(ours.pk)], query


@pytest.mark.parametrize(("path", "most"), [("/staff/gateways", 6), ("/staff/gateways/{pk}/stages", 3)])
def test_lists_take_the_same_queries_whatever_their_length(
    staff: ApiClient, queries_of: Callable[[ApiClient, str], int], path: str, most: int
) -> None:
    gateway = make_gateway()
    make_stage(gateway)
    path = path.format(pk=gateway.pk)
    few = queries_of(staff, path)
    for number in range(3):
        make_stage(gateway, name=f"v{number + 5}")
        make_gateway()
    assert queries_of(staff, path) == few <= most


ROLE = "arn:aws:iam::123456789012:role/tollgate"


def test_gateway_with_a_role_is_registered_and_its_role_changed(staff: ApiClient) -> None:
    shown = staff.post("/staff/gateways", {**FRANKFURT, "role_arn": ROLE, "external_id": "x7"}).json()
    assert (shown["role_arn"], shown["external_id"]) == (ROLE, "x7")
    assert shown["permissions"] == {"requested_at": None, "checked_at": None, "missing": []}

    changed = staff.patch(f"/staff/gateways/{shown['id']}", {"role_arn": ROLE + "-2"}).json()
    assert (changed["role_arn"], changed["external_id"], changed["name"]) == (ROLE + "-2", "x7", "Frankfurt")


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"role_arn": "tollgate"}, 400, "Write a role"),
        ({"external_id": "x y"}, 400, "An external id has"),
        ({"role_arn": ROLE.replace("1234", "9999")}, 409, "another AWS account"),
        ({"external_id": "x7"}, 409, "belongs to a role"),
    ],
    ids=["role", "external-id", "other-account", "no-role"],
)
def test_wrong_roles_are_refused(staff: ApiClient, fields: dict[str, Any], status: int, said: str) -> None:
    answer = staff.post("/staff/gateways", {**FRANKFURT, **fields})
    assert (answer.status_code, said in answer.content.decode()) == (status, True)
    assert not Gateway.objects.exists()


def test_check_of_rights_is_asked_for_and_shown(staff: ApiClient) -> None:
    gateway = make_gateway()

    answer = staff.post(f"/staff/gateways/{gateway.pk}/check", {})
    assert answer.status_code == 202
    assert answer.json()["permissions"]["requested_at"] is not None

    missing = [{"operation": "DeleteApiKey", "words": "apigateway:DELETE on /apikeys/*: Revoked keys are not deleted."}]
    Gateway.objects.filter(pk=gateway.pk).update(permissions_checked_at=timezone.now(), permissions_missing=missing)
    assert staff.get(f"/staff/gateways/{gateway.pk}").json()["permissions"]["missing"] == missing
    assert AuditEvent.objects.filter(action="gateway.check_requested").count() == 1


def test_gateway_is_drained_with_progress_and_undrained(staff: ApiClient, acme: Tenant) -> None:
    here, there = make_gateway(name="Here"), make_gateway(name="There")
    make_stage(here), make_stage(there)
    tier = make_tier(gateways=[here, there])
    bought = [buy(acme, tier, name=f"Key {number}") for number in range(4)]
    bring_into_service()
    standing = sum(each.gateway_key.gateway_id == here.pk for each in bought)

    left = staff.get(f"/staff/gateways/{here.pk}/drain").json()
    assert (left["draining_since"], left["siloed"], left["keys_held"]) == (None, standing, standing)

    drained = staff.post(f"/staff/gateways/{here.pk}/drain", {})
    assert (drained.status_code, drained.json()["siloed"], drained.json()["moves_siloed_since"]) == (202, standing, None)
    go_on_with_drains(Gateway.objects.all())
    assert staff.get(f"/staff/gateways/{here.pk}/drain").json()["siloed"] == standing
    refused = staff.patch(f"/staff/gateways/{here.pk}", {"accepts_keys": True})
    assert told(refused)[:2] == (409, "refused")

    moved = staff.post(f"/staff/gateways/{here.pk}/drain", {"move_siloed": True}).json()
    assert moved["moves_siloed_since"] is not None
    go_on_with_drains(Gateway.objects.all())
    left = staff.get(f"/staff/gateways/{here.pk}/drain").json()
    assert (left["siloed"], left["leaving"]) == (0, standing)
    assert staff.get(f"/staff/gateways/{here.pk}").json()["draining_since"] is not None

    again = staff.post(f"/staff/gateways/{here.pk}/undrain", {})
    assert (again.status_code, again.json()["draining_since"]) == (200, None)


def test_keys_of_others_take_room(staff: ApiClient) -> None:
    gateway = make_gateway(capacity=100)
    Gateway.objects.filter(pk=gateway.pk).update(foreign_keys=30)

    shown = staff.get(f"/staff/gateways/{gateway.pk}").json()

    assert (shown["foreign_keys"], shown["headroom"]) == (30, 70)
