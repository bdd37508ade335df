"""/staff/pools, /staff/gateway-keys and /staff/keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from keys import values
from keys.models import ApiKey, GatewayKey
from keys.services import api_keys, pools
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, IdempotentAnswer, Tenant, User
from tests.keys.api.staff.conftest import told
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db


def credential_of(api_key: ApiKey) -> str:
    return values.decrypt(api_key.gateway_key.value_encrypted)


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.json()["data"]]


# --- Pools


def test_pool_tells_the_load_of_each_key(staff: ApiClient) -> None:
    tier = make_tier(pool_size=2)
    make_tier()
    for _number in range(3):
        buy(make_tenant(), tier)

    [row] = staff.get("/staff/pools").json()["data"]
    assert row["tier"] == {"id": str(tier.pk), "slug": tier.slug}
    assert (row["size"], row["api_keys"], row["load_min"], row["load_max"]) == (2, 3, 1, 2)
    assert row["blast_radius"] == pytest.approx(2 / 3)
    detail = staff.get(f"/staff/pools/{tier.pk}").json()
    assert sorted(key["load"] for key in detail["keys"]) == [1, 2]
    assert [key["position"] for key in detail["keys"]] == [0, 1]
    assert {name: detail[name] for name in row} == row


def test_pool_is_previewed_and_resized(staff: ApiClient) -> None:
    tier = make_tier(pool_size=2)
    for _number in range(4):
        buy(make_tenant(), tier)

    preview = staff.get(f"/staff/pools/{tier.pk}/preview?size=1").json()
    assert (preview["size"], preview["moved"], preview["grace_seconds"]) == (1, 2, 7 * 86400)
    shrunk = staff.post(f"/staff/pools/{tier.pk}/resize", {"size": 1})
    assert (shrunk.status_code, shrunk.json()["size"], [key["load"] for key in shrunk.json()["keys"]]) == (200, 1, [4])
    assert len(staff.post(f"/staff/pools/{tier.pk}/resize", {"size": 3}).json()["keys"]) == 3
    assert AuditEvent.objects.filter(action="pool.resized").count() == 2


@pytest.mark.parametrize("size", [0, 5001, "3", 2.5, None])
def test_impossible_size_is_named(staff: ApiClient, size: object) -> None:
    tier = make_tier(pool_size=2)
    answer = staff.post(f"/staff/pools/{tier.pk}/resize", {"size": size})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "size")


@pytest.mark.parametrize("query", ["", "?size=", "?size=0", "?size=5001", "?size=-1", "?size=12345", "?size=%C2%B2"])
def test_impossible_size_of_a_preview_is_named(staff: ApiClient, query: str) -> None:
    answer = staff.get(f"/staff/pools/{make_tier(pool_size=2).pk}/preview{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "size")


def test_siloed_tier_has_no_pool(staff: ApiClient) -> None:
    tier = make_tier()
    assert staff.get(f"/staff/pools/{tier.pk}").status_code == 404
    assert staff.post(f"/staff/pools/{tier.pk}/resize", {"size": 2}).status_code == 404


# --- Gateway keys


def test_gateway_key_is_told_without_its_value(staff: ApiClient, acme: Tenant) -> None:
    api_key = buy(acme, make_tier(slug="test"))
    key = api_key.gateway_key
    answer = staff.get(f"/staff/gateway-keys/{key.pk}")
    shown = answer.json()
    assert (shown["role"], shown["tier"]["slug"], shown["last_four"], shown["load"], shown["pending"]) == (
        "silo",
        "test",
        key.last_four,
        1,
        True,
    )
    assert credential_of(api_key) not in answer.content.decode()
    assert "value" not in shown
    assert staff.get("/staff/gateway-keys").json()["data"] == [shown]


def test_gateway_keys_are_filtered(staff: ApiClient, acme: Tenant) -> None:
    pooled, siloed = make_tier(slug="free", pool_size=1), make_tier(slug="test")
    silo = buy(acme, siloed).gateway_key
    pool = GatewayKey.objects.get(role="pool")
    bring_into_service()
    GatewayKey.objects.filter(pk=silo.pk).update(revision=9, last_error="Refused.", permanent=True)

    def listed(query: str) -> list[str]:
        return ids(staff.get(f"/staff/gateway-keys?{query}"))

    for query in ("role=silo", "tier=test", "state=pending", "state=failing", "state=person", f"last_four={silo.last_four}"):
        assert listed(query) == [str(silo.pk)], query
    for query in ("role=pool", f"tier={pooled.slug}"):
        assert listed(query) == [str(pool.pk)], query
    assert len(listed(f"gateway={pool.gateway_id}&state=service")) == 2
    assert listed("gateway=11111111-1111-1111-1111-111111111111") == []
    assert told(staff.get("/staff/gateway-keys?state=broken"))[:2] == (400, "invalid-fields")
    assert told(staff.get("/staff/gateway-keys?gateway=one"))[:2] == (400, "invalid-fields")

    pools.replace_pool_key(gateway_key=pool, grace=timedelta(days=1), actor=SYSTEM)
    assert listed("state=ending") == [str(pool.pk)]
    GatewayKey.objects.filter(pk=pool.pk).update(removed_at=timezone.now())
    assert listed("state=gone") == [str(pool.pk)]


def test_pool_key_is_replaced(staff: ApiClient, acme: Tenant) -> None:
    tier = make_tier(pool_size=1)
    stays, leaves = buy(acme, tier), buy(acme, tier)
    api_keys.revoke(api_key=leaves, actor=SYSTEM)
    old = GatewayKey.objects.get()
    assert staff.get(f"/staff/gateway-keys/{old.pk}").json()["former_holders"] == 1

    answer = staff.post(f"/staff/gateway-keys/{old.pk}/replace", {"grace_seconds": 3600})
    new = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/api/v1/staff/gateway-keys/{new['id']}")
    assert (new["load"], new["position"], new["former_holders"], new["role"]) == (1, 0, 0, "pool")
    stays.refresh_from_db()
    assert str(stays.gateway_key_id) == new["id"]
    ended = staff.get(f"/staff/gateway-keys/{old.pk}").json()
    assert ended["ends_at"] is not None
    again = staff.post(f"/staff/gateway-keys/{old.pk}/replace", {})
    assert told(again) == (409, "refused", "This key is leaving its pool already.")


def test_siloed_key_is_not_replaced(staff: ApiClient, acme: Tenant) -> None:
    key = buy(acme, make_tier()).gateway_key
    assert told(staff.post(f"/staff/gateway-keys/{key.pk}/replace")) == (
        409,
        "refused",
        "Only a pool's key can be replaced; a siloed key is rotated.",
    )
    too_long = staff.post(f"/staff/gateway-keys/{key.pk}/replace", {"grace_seconds": 30 * 86400 + 1})
    assert too_long.json()["errors"][0]["field"] == "grace_seconds"


# --- API keys


def test_api_key_of_any_tenant_is_told(staff: ApiClient, acme: Tenant, alice: User) -> None:
    tier = make_tier(slug="test")
    api_key = buy(acme, tier, name="Shop")
    bring_into_service()
    answer = staff.get(f"/staff/keys/{api_key.pk}")
    shown = answer.json()
    assert shown["tenant"] == {"id": str(acme.pk), "name": "Acme"}
    assert (shown["isolation"], shown["status"], shown["gateway_key"]) == ("siloed", "ready", str(api_key.gateway_key_id))
    assert "credential" not in shown
    assert credential_of(api_key) not in answer.content.decode()
    assert staff.get("/staff/keys").json()["data"] == [shown]


def test_api_keys_are_filtered(staff: ApiClient, acme: Tenant, outsiders: Tenant) -> None:
    pooled, siloed = make_tier(slug="free", pool_size=1), make_tier(slug="test")
    mine, theirs = buy(acme, siloed, name="Shop"), buy(outsiders, pooled, name="Feed")
    bring_into_service()
    fresh = buy(outsiders, siloed, name="Fresh")

    def listed(query: str) -> set[str]:
        return set(ids(staff.get(f"/staff/keys?{query}")))

    for query in (f"tenant={acme.pk}", f"last_four={mine.gateway_key.last_four}", f"gateway_key={mine.gateway_key_id}", "q=sho", "q=acme"):
        assert listed(query) == {str(mine.pk)}, query
    for query in ("tier=free", "isolation=pooled", "q=feed"):
        assert listed(query) == {str(theirs.pk)}, query
    assert listed("status=ready") == {str(mine.pk), str(theirs.pk)}
    assert listed("status=preparing") == {str(fresh.pk)}
    api_keys.rotate(api_key=mine, grace=timedelta(hours=1), actor=SYSTEM)  # its new credential is being made
    assert listed("status=ready") == {str(mine.pk), str(theirs.pk)}
    assert {row["status"] for row in staff.get("/staff/keys?status=ready").json()["data"]} == {"ready"}
    api_keys.disable(api_key=mine, actor=SYSTEM)
    api_keys.revoke(api_key=theirs, actor=SYSTEM)
    assert (listed("status=disabled"), listed("status=revoked")) == ({str(mine.pk)}, {str(theirs.pk)})
    assert told(staff.get("/staff/keys?status=off"))[:2] == (400, "invalid-fields")
    # A whole credential has no place in a URL.
    assert told(staff.get(f"/staff/keys?last_four={credential_of(fresh)}"))[:2] == (400, "invalid-fields")


def test_keys_are_disabled_enabled_and_revoked(staff: ApiClient, acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    path = f"/staff/keys/{api_key.pk}"

    assert staff.post(f"{path}/disable").json()["status"] == "disabled"
    assert staff.post(f"{path}/disable").status_code == 200
    assert staff.post(f"{path}/enable").json()["status"] == "ready"
    assert staff.post(f"{path}/revoke").json()["status"] == "revoked"
    assert told(staff.post(f"{path}/enable")) == (409, "refused", "This key was revoked, which is for ever. Buy another one.")
    assert told(staff.post(f"{path}/revoke", {"sure": True}))[:2] == (400, "invalid-fields")
    events = AuditEvent.objects.filter(target_id=str(api_key.pk)).exclude(actor=None)
    assert sorted(event.action for event in events) == ["api_key.disabled", "api_key.enabled", "api_key.revoked"]
    assert {event.actor_label for event in events} == {"sam@example.com (CI)"}


def test_pooled_key_cannot_be_disabled(staff: ApiClient, acme: Tenant) -> None:
    api_key = buy(acme, make_tier(name="Free", pool_size=1))
    status, slug, detail = told(staff.post(f"/staff/keys/{api_key.pk}/disable"))
    assert (status, slug) == (409, "refused")
    assert detail.startswith("Keys of the Free tier cannot be turned off and on.")


def test_key_is_found_by_its_credential(staff: ApiClient, acme: Tenant, outsiders: Tenant) -> None:
    siloed, pooled = make_tier(), make_tier(pool_size=1)
    mine = buy(acme, siloed)
    shared = [buy(acme, pooled), buy(outsiders, pooled)]

    [key] = staff.post("/staff/keys/find", {"credential": f" {credential_of(mine)} "}).json()["keys"]
    assert key["id"] == str(mine.pk)
    found = staff.post("/staff/keys/find", {"credential": credential_of(shared[0])}).json()
    assert {key["id"] for key in found["keys"]} == {str(each.pk) for each in shared}
    assert (found["gateway_key"]["role"], found["gateway_key"]["load"], found["has_more"]) == ("pool", 2, False)


def test_credential_that_is_not_found_is_told_apart_and_kept_nowhere(
    staff: ApiClient, acme: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = values.new_value()
    missing = staff.post("/staff/keys/find", {"credential": unknown}, Idempotency_Key="a")
    assert told(missing) == (404, "not-found", "No gateway key has or had this value.")
    typo = staff.post("/staff/keys/find", {"credential": unknown[:-1]})
    assert told(typo)[2] == "credential: This is no credential of ours, nor of a key that was adopted: look for a typo or a missing end."
    for answer in (missing, typo):
        assert unknown[4:20] not in answer.content.decode()
    assert unknown[4:20] not in caplog.text
    assert IdempotentAnswer.objects.count() == 0


@pytest.mark.parametrize(("path", "most"), [("/staff/pools", 2), ("/staff/gateway-keys", 4), ("/staff/keys", 3)])
def test_lists_take_the_same_queries_whatever_their_length(
    staff: ApiClient, queries_of: Callable[[ApiClient, str], int], acme: Tenant, path: str, most: int
) -> None:
    buy(acme, make_tier(pool_size=1))
    few = queries_of(staff, path)
    for _number in range(4):
        buy(make_tenant(), make_tier(pool_size=2))
        buy(make_tenant(), make_tier())
    assert queries_of(staff, path) == few <= most


def test_keys_of_all_tenants_are_walked_in_pages(staff: ApiClient) -> None:
    tier = make_tier(pool_size=1)
    bought = {str(buy(make_tenant(), tier).pk) for _number in range(5)}
    seen, url = [], "/staff/keys?limit=2&tier=" + tier.slug
    while url:
        page = staff.get(url).json()
        seen += [row["id"] for row in page["data"]]
        url = page["next"]
    assert (len(seen), set(seen)) == (5, bought)
