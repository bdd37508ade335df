"""GET /keys: pages, filters, and what they cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys.models import ApiKey, Stage, Tier
from keys.services import api_keys, tenants
from tenants.audit import SYSTEM
from tenants.models import Tenant, User
from tests.keys.api.asking import walk, wrong_fields
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tier

pytestmark = pytest.mark.django_db


def names(api: ApiClient, query: str) -> list[str]:
    answer = api.get(f"/keys?{query}")
    assert answer.status_code == 200, answer.content
    return [key["name"] for key in answer.json()["data"]]


@pytest.fixture
def many(acme: Tenant) -> list[ApiKey]:
    """130 keys of Acme on a pool, every ten of them bought at the same moment."""
    tier = make_tier(slug="free", pool_size=3, max_api_keys=1000)
    bring_into_service()
    start = timezone.now() - timedelta(hours=1)
    bought = [buy(acme, tier, name=f"Key {number}") for number in range(130)]
    for number, api_key in enumerate(bought):
        api_key.created_at = start + timedelta(seconds=number // 10)
    ApiKey.objects.bulk_update(bought, ["created_at"])
    return bought


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_walk_shows_each_key_once_newest_first(api: ApiClient, many: list[ApiKey], limit: int) -> None:
    expected = sorted(many, key=lambda each: (each.created_at, each.pk), reverse=True)
    pages = list(walk(api, f"/keys?limit={limit}"))
    assert [key["id"] for page in pages for key in page] == [str(each.pk) for each in expected]
    assert {len(page) for page in pages[:-1]} <= {limit}


def test_walk_among_purchases_and_revocations_keeps_the_rest(api: ApiClient, acme: Tenant, many: list[ApiKey]) -> None:
    tier = Tier.objects.get(slug="free")
    seen = []
    for number, page in enumerate(walk(api, "/keys?limit=10")):
        seen += [key["id"] for key in page]
        buy(acme, tier, name=f"New {number}")
        api_keys.revoke(api_key=many[number], actor=SYSTEM)
    assert len(seen) == len(set(seen)) == 130
    assert set(seen) == {str(each.pk) for each in many}


def test_filters_go_along_from_page_to_page(api: ApiClient, acme: Tenant, many: list[ApiKey]) -> None:
    buy(acme, make_tier(slug="other"), name="Other")
    found = [key["tier"] for page in walk(api, "/keys?limit=50&tier=free&q=key") for key in page]
    assert found == ["free"] * 130


def test_only_keys_of_the_organisation(api: ApiClient, as_person: Any, charlie: User, many: list[ApiKey]) -> None:
    assert as_person(charlie).get("/keys").json() == {"data": [], "next": None, "previous": None}


# --- Filters


def test_filter_by_status_says_what_the_rows_say(api: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    for name in ("ready", "disabled", "revoked", "both"):
        buy(acme, tier, name=name)
    bring_into_service()
    buy(acme, tier, name="preparing")
    for name, change in (
        ("disabled", api_keys.disable),
        ("both", api_keys.disable),
        ("both", api_keys.revoke),
        ("revoked", api_keys.revoke),
    ):
        change(api_key=ApiKey.objects.get(name=name), actor=SYSTEM)

    assert names(api, "status=ready") == ["ready"]
    assert names(api, "status=preparing") == ["preparing"]
    assert names(api, "status=disabled") == ["disabled"]
    assert set(names(api, "status=revoked")) == {"both", "revoked"}

    tenants.suspend(tenant=acme, reason="Test", actor=SYSTEM)
    assert names(api, "status=ready") == names(api, "status=preparing") == []
    assert set(names(api, "status=disabled")) == {"disabled", "ready", "preparing"}
    assert {key["status"] for key in api.get("/keys?status=disabled").json()["data"]} == {"disabled"}


def test_filter_by_text_looks_where_the_page_looks(api: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    buy(acme, tier, name="Web shop")
    buy(acme, tier, name="Till", description="of the SHOP")
    other = buy(acme, tier, name="Stock")

    assert names(api, "q=shop") == ["Till", "Web shop"]
    assert names(api, f"q=...{other.gateway_key.last_four}") == ["Stock"]
    assert names(api, f"last_four={other.gateway_key.last_four}") == ["Stock"]
    assert names(api, "q=") == ["Stock", "Till", "Web shop"]
    assert names(api, "q=100%25") == []


def test_filter_by_time(api: ApiClient, acme: Tenant) -> None:
    tier = make_tier()
    first, second = buy(acme, tier, name="first"), buy(acme, tier, name="second")
    moment = quote(api.get(f"/keys/{second.pk}").json()["created_at"])
    assert names(api, f"created_after={moment}") == ["second"]
    assert names(api, f"created_before={moment}") == ["first"]
    assert names(api, f"created_after={quote(first.created_at.isoformat())}&created_before={moment}") == ["first"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("status=Ready", "status"),
        ("status=gone", "status"),
        ("tier=none", "tier"),
        ("tier=" + "a" * 41, "tier"),
        ("q=" + "a" * 101, "q"),
        ("q=a%00b", "q"),
        ("last_four=abc", "last_four"),
        ("last_four=abcde", "last_four"),
        ("last_four=ab%0Ac", "last_four"),
        ("created_after=yesterday", "created_after"),
        ("created_before=2026-13-01T00:00:00Z", "created_before"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "created_before"),
        ("created_after=9999-12-31T23:59:59-14:00", "created_after"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=nonsense", "cursor"),
        ("page=2", "page"),
        ("isolation=siloed", "isolation"),
        ("gateway_key=1", "gateway_key"),
    ],
)
def test_wrong_parameters_are_named(api: ApiClient, query: str, wrong: str) -> None:
    assert wrong_fields(api.get(f"/keys?{query}")) == {wrong}


# --- Endpoints and costs


def test_endpoint_is_the_stage_of_the_tier_on_the_gateway_of_the_key(api: ApiClient, acme: Tenant) -> None:
    near = make_stage(invoke_url="https://near.example/v1")
    far = make_stage(make_gateway(), invoke_url="https://far.example/v1")
    also_far = make_stage(far.gateway, rest_api_id="first", invoke_url="https://also-far.example/v1")
    here, there = make_tier(stage=near), make_tier(stage=far)
    there.stages.add(also_far)
    buy(acme, here, name="here")
    buy(acme, there, name="there")
    urls = {key["name"]: key["endpoint"] for key in api.get("/keys").json()["data"]}
    assert urls == {"here": "https://near.example/v1", "there": "https://also-far.example/v1"}
    Stage.objects.filter(pk=near.pk).delete()
    assert api.get(f"/keys/{ApiKey.objects.get(name='here').pk}").json()["endpoint"] is None


@pytest.mark.parametrize("path", ["/keys", "/usage", "/keys?tier=free&status=ready&q=Key"])
def test_queries_do_not_grow_with_rows(api: ApiClient, acme: Tenant, path: str) -> None:
    tier = make_tier(slug="free", pool_size=2, max_api_keys=1000)
    other = make_tier(slug="other", max_api_keys=1000)
    bring_into_service()
    counts = {}
    for rows in (0, 1, 100):
        while ApiKey.objects.filter(tier=tier).count() < rows:
            buy(acme, tier, name="Key")
            if "tier=" not in path and ApiKey.objects.count() < rows:
                buy(acme, other, name="Key")
        bring_into_service()
        api.get(path)  # notes that the token was used, once a minute
        with CaptureQueriesContext(connection) as queries:
            answer = api.get(f"{path}{'&' if '?' in path else '?'}limit=100")
        assert len(answer.json()["data"]) >= rows
        assert not any("COUNT(" in query["sql"].upper() for query in queries)
        counts[rows] = len(queries)
    assert counts[0] <= counts[1] == counts[100]
    assert counts[100] <= 5


def test_queries_do_not_grow_with_keys_that_are_being_prepared(api: ApiClient, acme: Tenant) -> None:
    """What waits at gateways is counted then: few rows, which an index of their own has."""
    tier = make_tier(max_api_keys=1000)
    counts = []
    for rows in (1, 60):
        while ApiKey.objects.count() < rows:
            buy(acme, tier, name="Key")
        api.get("/keys")  # notes that the token was used, once a minute
        with CaptureQueriesContext(connection) as queries:
            answer = api.get("/keys?limit=100")
        assert {key["status"] for key in answer.json()["data"]} == {"preparing"}
        assert not any("COUNT(" in query["sql"].upper() and 'FROM "keys_apikey"' in query["sql"] for query in queries)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 9


def test_unknown_status_is_told_which_there_are(api: ApiClient) -> None:
    answer = api.get("/keys?status=active")
    assert wrong_fields(answer) == {"status"}
    assert "Known are: preparing, " in answer.json()["detail"]
