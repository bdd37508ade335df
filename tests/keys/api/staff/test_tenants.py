"""/staff/tenants, /staff/audit-events, /staff/usage, /staff/reconcile-runs, /staff/findings and /staff/tokens."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from keys.models import ApiKey, Finding, GatewayKey, ReconcileRun, UsageDay
from keys.services import api_keys, tenants
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant, Token, User
from tests.keys.api.staff.conftest import told
from tests.support.api import ApiClient, make_client
from tests.support.cast import make_user
from tests.support.factories import bring_into_service, buy, make_gateway, make_tenant, make_tier

pytestmark = pytest.mark.django_db


# --- Tenants


def test_tenant_is_told_with_what_suspending_would_cut_off(staff: ApiClient, acme: Tenant, alice: User, bob: User) -> None:
    buy(acme, make_tier())
    pooled = make_tier(pool_size=1)
    for _number in range(2):
        buy(acme, pooled)
    api_keys.revoke(api_key=buy(acme, pooled), actor=SYSTEM)

    shown = staff.get(f"/staff/tenants/{acme.pk}").json()
    assert {name: shown[name] for name in ("name", "members", "own_keys", "shared_keys", "suspended_at")} == {
        "name": "Acme",
        "members": 2,
        "own_keys": 1,
        "shared_keys": 2,
        "suspended_at": None,
    }
    assert staff.get("/staff/tenants").json()["data"] == [shown]


def test_tenant_is_suspended_and_resumed(staff: ApiClient, acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    path = f"/staff/tenants/{acme.pk}"

    assert staff.post(f"{path}/suspend", {"reason": "Unpaid"}).json()["suspended_at"] is not None
    assert GatewayKey.objects.get().enabled is False
    event = AuditEvent.objects.get(action="tenant.suspended")
    assert (event.data["reason"], event.actor_label) == ("Unpaid", "sam@example.com (CI)")
    assert staff.get(f"/staff/keys/{api_key.pk}").json()["status"] == "disabled"
    refused = staff.post(f"/staff/keys/{api_key.pk}/enable")
    assert told(refused)[:2] == (409, "refused")
    assert "Acme is suspended" in told(refused)[2]

    assert staff.post(f"{path}/resume").json()["suspended_at"] is None
    assert GatewayKey.objects.get().enabled is True


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": 7}])
def test_suspending_needs_a_reason(staff: ApiClient, acme: Tenant, body: dict[str, Any]) -> None:
    answer = staff.post(f"/staff/tenants/{acme.pk}/suspend", body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "reason")
    acme.refresh_from_db()
    assert acme.suspended_at is None


def test_tenants_are_filtered(staff: ApiClient, acme: Tenant, outsiders: Tenant, alice: User, bob: User) -> None:
    tenants.suspend(tenant=outsiders, reason="Unpaid", actor=SYSTEM)

    def listed(query: str) -> list[str]:
        return [row["name"] for row in staff.get(f"/staff/tenants?{query}").json()["data"]]

    for query in ("q=acm", "q=EXAMPLE.com", "suspended=false"):
        assert listed(query) == ["Acme"], query
    assert listed("suspended=true") == ["Outsiders"]
    assert told(staff.get("/staff/tenants?suspended=1"))[:2] == (400, "invalid-fields")


def test_tenant_is_renamed_by_version(staff: ApiClient, acme: Tenant) -> None:
    path = f"/staff/tenants/{acme.pk}"
    etag = staff.get(path)["ETag"]
    assert staff.patch(path, {"name": "Acme Ltd"}, If_Match=etag).json()["name"] == "Acme Ltd"
    assert told(staff.patch(path, {"name": "Other"}, If_Match=etag))[:2] == (412, "precondition-failed")


# --- Audit trail


def test_audit_trail_of_everybody(staff: ApiClient, acme: Tenant, sam: User) -> None:
    tier = make_tier()
    api_key = buy(acme, tier)
    staff.post(f"/staff/keys/{api_key.pk}/revoke", X_Request_Id="from-a-script")

    [event] = staff.get("/staff/audit-events?action=api_key.revoked").json()["data"]
    assert event["tenant"] == {"id": str(acme.pk), "name": "Acme"}
    assert (event["actor"], event["actor_id"]) == ("sam@example.com (CI)", str(sam.pk))
    assert event["details"] == {"cut_off": True}
    [made] = staff.get("/staff/audit-events?action=tier.created").json()["data"]
    assert (made["tenant"], made["actor"], made["actor_id"]) == (None, "system", None)
    for query in (f"request_id={event['request_id']}", f"target_id={api_key.pk}&action=api_key.revoked"):
        assert staff.get(f"/staff/audit-events?{query}").json()["data"] == [event], query
    assert len(staff.get(f"/staff/audit-events?tenant={acme.pk}&target_type=apikey").json()["data"]) == 2
    assert event in staff.get(f"/staff/audit-events?actor_id={sam.pk}").json()["data"]


# --- Usage


def used(api_key: ApiKey, day: date, requests: int) -> None:
    UsageDay.objects.create(gateway_key=api_key.gateway_key, date=day, used=requests, read_at=datetime(2026, 11, 21, tzinfo=UTC))


def test_usage_by_tier_and_by_tenant(staff: ApiClient, acme: Tenant, outsiders: Tenant) -> None:
    siloed, other, pooled = make_tier(slug="test"), make_tier(slug="gold"), make_tier(slug="free", pool_size=1)
    mine, gold, shared, theirs = buy(acme, siloed), buy(acme, other), buy(acme, pooled), buy(outsiders, siloed)
    bring_into_service()
    used(mine, date(2026, 11, 1), 10)
    api_keys.rotate(api_key=mine, grace=timedelta(0), actor=SYSTEM)
    mine.refresh_from_db()
    used(mine, date(2026, 11, 2), 5)
    used(mine, date(2026, 11, 30), 1000)
    used(gold, date(2026, 11, 2), 3)
    used(shared, date(2026, 11, 2), 70)
    used(theirs, date(2026, 11, 2), 200)

    days = "from=2026-11-01&to=2026-11-02"
    totals = staff.get(f"/staff/usage?{days}").json()
    assert (totals["from"], totals["to"], totals["used"]) == ("2026-11-01", "2026-11-02", 288)
    assert {row["tier"]["slug"]: row["used"] for row in totals["tiers"]} == {"test": 215, "gold": 3, "free": 70}
    rows = {row["tenant"]["name"]: row for row in staff.get(f"/staff/usage/tenants?{days}").json()["data"]}
    assert (rows["Acme"]["used"], rows["Outsiders"]["used"]) == (18, 200)
    assert [(each["tier"], each["used"]) for each in rows["Acme"]["tiers"]] == [("gold", 3), ("test", 15)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-11-31", "from"),
        ("to=20261101", "to"),
        ("to=2026-W47-6", "to"),
        ("from=yesterday", "from"),
        ("from=2026-11-02&to=2026-11-01", "from"),
        ("from=2025-01-01&to=2026-11-01", "from"),
        ("day=2026-11-01", "day"),
    ],
)
def test_wrong_days_are_named(staff: ApiClient, query: str, field: str) -> None:
    for path in ("/staff/usage", "/staff/usage/tenants"):
        answer = staff.get(f"{path}?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


def test_usage_of_the_month_by_default(staff: ApiClient) -> None:
    today = timezone.now().astimezone(UTC).date()
    shown = staff.get("/staff/usage").json()
    assert (shown["from"], shown["to"], shown["used"]) == (str(today.replace(day=1)), str(today), 0)


# --- Drift


def test_runs_and_findings(staff: ApiClient) -> None:
    gateway, now = make_gateway(), timezone.now()
    drift = ReconcileRun.objects.create(gateway=gateway, started_at=now, ended_at=now, keys_listed=7, plans_listed=2)
    ReconcileRun.objects.create(gateway=make_gateway(), started_at=now, ended_at=now)
    ReconcileRun.objects.create(gateway=gateway, started_at=now, ended_at=now, error="The gateway answered 503.")
    ReconcileRun.objects.create(gateway=gateway, started_at=now)
    common: dict[str, Any] = {"run": drift, "gateway": gateway, "subject": "gateway key", "detail": "It is gone.", "action": "Made again."}
    Finding.objects.create(kind="missing", resolved_at=now, **common)
    Finding.objects.create(kind="extra", quarantined_at=now, **common)
    Finding.objects.create(kind="wrong_enabled", **common)
    Finding.objects.create(kind="detached", row_id=uuid.uuid4(), **common)

    def listed(path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = staff.get(path).json()["data"]
        return rows

    for outcome, findings in (("drift", 4), ("clean", 0), ("failed", 0), ("running", 0)):
        [run] = listed(f"/staff/reconcile-runs?outcome={outcome}")
        assert (run["outcome"], run["findings"]) == (outcome, findings)
    assert len(listed(f"/staff/reconcile-runs?gateway={gateway.pk}")) == 3
    assert len(listed("/staff/reconcile-runs")) == 4
    for state, kind in (("resolved", "missing"), ("quarantine", "extra"), ("open", "wrong_enabled"), ("repairing", "detached")):
        [finding] = listed(f"/staff/findings?state={state}&gateway={gateway.pk}&run={drift.pk}")
        assert (finding["state"], finding["kind"], finding["run"]) == (state, kind, drift.pk)
        assert listed(f"/staff/findings?kind={kind}") == [finding]
    assert told(staff.get("/staff/findings?run=last"))[:2] == (400, "invalid-fields")
    assert told(staff.get("/staff/findings?run=99999999999999999999"))[:2] == (400, "invalid-fields")


def test_findings_are_walked_in_pages(staff: ApiClient) -> None:
    gateway, now = make_gateway(), timezone.now()
    run = ReconcileRun.objects.create(gateway=gateway)
    for _number in range(5):
        Finding.objects.create(run=run, gateway=gateway, kind="extra", subject="gateway key", detail="", action="", found_at=now)
    seen, url = [], "/staff/findings?limit=2"
    while url:
        page = staff.get(url).json()
        seen += [row["id"] for row in page["data"]]
        url = page["next"]
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5


# --- Tokens


def test_staff_make_look_at_and_revoke_their_own_tokens(staff: ApiClient, sam: User, acme: Tenant, alice: User) -> None:
    made = staff.post("/staff/tokens", {"name": "Night job", "scopes": ["staff:read"]})
    shown = made.json()
    assert (made.status_code, made["Location"]) == (201, f"/api/v1/staff/tokens/{shown['id']}")
    other = ApiClient(shown.pop("token"))
    assert other.get("/staff/tenants").status_code == 200
    assert told(other.post(f"/staff/tenants/{acme.pk}/suspend", {"reason": "x"}))[:2] == (403, "insufficient-scope")
    assert told(other.post("/staff/tokens", {"name": "More", "scopes": ["staff:write"]}))[:2] == (403, "insufficient-scope")

    make_client(make_user("colleague@example.com", is_staff=True))
    assert {row["name"] for row in staff.get("/staff/tokens").json()["data"]} == {"CI", "Night job"}
    colleagues = Token.objects.get(user__email="colleague@example.com")
    assert staff.get(f"/staff/tokens/{colleagues.pk}").status_code == 404
    assert staff.delete(f"/staff/tokens/{colleagues.pk}").status_code == 404

    assert staff.delete(f"/staff/tokens/{shown['id']}").status_code == 204
    assert staff.get(f"/staff/tokens/{shown['id']}").json()["revoked_at"] is not None
    assert told(other.get("/staff/tenants"))[:2] == (401, "revoked-token")


@pytest.mark.parametrize("scopes", [["keys:read"], [], ["staff:all"], "staff:read"])
def test_staff_tokens_have_scopes_of_staff_alone(staff: ApiClient, scopes: object) -> None:
    answer = staff.post("/staff/tokens", {"name": "Job", "scopes": scopes})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].startswith("scopes")


def test_token_cannot_do_more_than_the_one_that_makes_it(sam: User) -> None:
    answer = make_client(sam, scopes=["staff:write"]).post("/staff/tokens", {"name": "Job", "scopes": ["staff:read"]})
    assert told(answer)[:2] == (400, "invalid-fields")
    assert "lacks staff:read" in told(answer)[2]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/staff/tenants", 4),
        ("/staff/audit-events", 2),
        ("/staff/usage", 3),
        ("/staff/usage/tenants", 3),
        ("/staff/reconcile-runs", 3),
        ("/staff/findings", 2),
        ("/staff/tokens", 2),
    ],
)
def test_lists_take_the_same_queries_whatever_their_length(
    staff: ApiClient, queries_of: Callable[[ApiClient, str], int], sam: User, acme: Tenant, alice: User, path: str, most: int
) -> None:
    def grow() -> None:
        api_key = buy(make_tenant(), make_tier())
        used(api_key, timezone.now().date(), 7)
        run = ReconcileRun.objects.create(gateway=make_gateway())
        Finding.objects.create(run=run, gateway=run.gateway, kind="extra", subject="gateway key", detail="", action="")
        make_client(sam)

    grow()
    few = queries_of(staff, path)
    for _number in range(4):
        grow()
    assert queries_of(staff, path) == few <= most
