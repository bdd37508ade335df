"""GET /usage and /keys/{id}/usage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from keys.models import ApiKey, Credential, UsageDay
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.keys.api.asking import walk, wrong_fields
from tests.support.api import ApiClient
from tests.support.factories import bring_into_service, buy, make_tier

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now() -> Any:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


def used(api_key: ApiKey, day: int, count: int, remaining: int | None = None) -> None:
    UsageDay.objects.create(
        gateway_key=api_key.gateway_key, date=date(2026, 11, day), used=count, remaining=remaining, read_at=NOW - timedelta(minutes=15)
    )


@pytest.fixture
def shop(acme: Tenant) -> ApiKey:
    """A key with 2,000 a day, bought on the first of the month."""
    api_key = buy(acme, make_tier(slug="premium"))
    bring_into_service()
    lived(api_key, since=NOW - timedelta(days=20))
    return api_key


def lived(api_key: ApiKey, *, since: datetime, until: datetime | None = None) -> None:
    """The API key, and the newest of its credentials, were there then: the database's own clock knows nothing of travels in time."""
    newest = Credential.objects.filter(api_key=api_key).latest("created_at")
    Credential.objects.filter(pk=newest.pk).update(created_at=since, ends_at=until)
    ApiKey.objects.filter(pk=api_key.pk).update(created_at=min(api_key.created_at, since), revoked_at=until)


def test_days_and_period(api: ApiClient, shop: ApiKey) -> None:
    used(shop, 19, 30)
    used(shop, 21, 120, remaining=1880)
    body = api.get(f"/keys/{shop.pk}/usage?from=2026-11-18&to=2026-11-21&interval=day").json()
    assert body == {
        "from": "2026-11-18",
        "to": "2026-11-21",
        "key": str(shop.pk),
        "interval": "day",
        "used": 150,
        "days": [
            {"date": "2026-11-18", "used": 0},
            {"date": "2026-11-19", "used": 30},
            {"date": "2026-11-20", "used": 0},
            {"date": "2026-11-21", "used": 120},
        ],
        "period": {
            "used": 120,
            "limit": 2000,
            "remaining": 1880,
            "starts_at": "2026-11-21T00:00:00Z",
            "resets_at": "2026-11-22T00:00:00Z",
            "read_at": "2026-11-21T07:45:00Z",
            "age_seconds": 900,
        },
    }


def test_this_month_unless_told_and_nothing_read_yet(api: ApiClient, acme: Tenant) -> None:
    api_key = buy(acme, make_tier(quota_limit=None, quota_period=""))
    body = api.get(f"/keys/{api_key.pk}/usage").json()
    assert (body["from"], body["to"], len(body["days"]), body["used"]) == ("2026-11-01", "2026-11-21", 21, 0)
    assert body["period"] == {
        "used": 0,
        "limit": None,
        "remaining": None,
        "starts_at": "2026-11-01T00:00:00Z",
        "resets_at": "2026-12-01T00:00:00Z",
        "read_at": None,
        "age_seconds": None,
    }


def test_rotated_credentials_are_counted(api: ApiClient, shop: ApiKey) -> None:
    used(shop, 20, 10)
    api_keys.rotate(api_key=shop, grace=timedelta(hours=1), actor=SYSTEM)
    lived(shop, since=NOW)
    used(shop, 21, 4)
    shop.refresh_from_db()
    used(shop, 21, 5)
    assert api.get(f"/keys/{shop.pk}/usage?from=2026-11-20").json()["days"] == [
        {"date": "2026-11-20", "used": 10},
        {"date": "2026-11-21", "used": 9},
    ]
    assert api.get("/usage?from=2026-11-20&to=2026-11-21").json()["data"][0]["used"] == 19


def test_days_before_and_after_a_credential_are_not_told(api: ApiClient, acme: Tenant, outsiders: Tenant) -> None:
    """On a value that tenants share, those are the others'."""
    tier = make_tier(slug="free", pool_size=1)
    theirs = buy(outsiders, tier)
    lived(theirs, since=NOW - timedelta(days=20))
    for day in (1, 9, 11, 13, 20):
        used(theirs, day, 100 + day)
    mine = buy(acme, tier)
    api_keys.revoke(api_key=mine, actor=SYSTEM)
    lived(mine, since=NOW - timedelta(days=11), until=NOW - timedelta(days=8))

    body = api.get(f"/keys/{mine.pk}/usage?from=2026-11-01").json()

    assert {day["date"]: day["used"] for day in body["days"] if day["used"]} == {"2026-11-11": 111, "2026-11-13": 113}
    assert [row["used"] for row in api.get("/usage").json()["data"]] == [224]


def test_all_keys_over_some_days(api: ApiClient, acme: Tenant, outsiders: Tenant, shop: ApiKey) -> None:
    till = buy(acme, shop.tier, name="Till")
    lived(till, since=NOW)
    used(shop, 1, 7)
    used(shop, 21, 120, remaining=1880)
    used(till, 21, 5)
    used(buy(outsiders, shop.tier), 21, 999)

    rows = [row for page in walk(api, "/usage?limit=1") for row in page]

    assert [(row["key"], row["name"], row["tier"], row["used"]) for row in rows] == [
        (str(till.pk), "Till", "premium", 5),
        (str(shop.pk), "Shop", "premium", 127),
    ]
    assert {(row["from"], row["to"]) for row in rows} == {("2026-11-01", "2026-11-21")}
    [row] = [row for row in rows if row["name"] == "Shop"]
    assert row["period"] == api.get(f"/keys/{shop.pk}/usage").json()["period"]
    assert {row["used"] for row in api.get("/usage?from=2026-11-21&to=2026-11-21").json()["data"]} == {120, 5}
    assert [row["name"] for row in api.get("/usage?q=till").json()["data"]] == ["Till"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("from=yesterday", "from"),
        ("from=20261101", "from"),
        ("from=2026-11-31", "from"),
        ("from=2026-11-01T00:00:00Z", "from"),
        ("to=2026-W47-6", "to"),
        ("from=2026-11-22", "from"),
        ("from=2025-11-20", "from"),
        ("until=2026-11-01", "until"),
    ],
)
def test_wrong_days_are_named(api: ApiClient, shop: ApiKey, query: str, wrong: str) -> None:
    assert wrong_fields(api.get(f"/keys/{shop.pk}/usage?{query}")) == {wrong}
    assert wrong_fields(api.get(f"/usage?{query}")) == {wrong}


@pytest.mark.parametrize("interval", ["hour", "minute", "month", ""])
def test_only_days_are_known(api: ApiClient, shop: ApiKey, interval: str) -> None:
    answer = api.get(f"/keys/{shop.pk}/usage?interval={interval}")
    assert wrong_fields(answer) == {"interval"}
    assert "known by the day" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["from=0001-01-01&to=0001-12-31", "from=9999-12-01&to=9999-12-31", "from=2025-11-21"])
def test_days_at_the_ends_of_the_calendar(api: ApiClient, shop: ApiKey, query: str) -> None:
    assert api.get(f"/keys/{shop.pk}/usage?{query}").status_code == 200
    assert api.get(f"/usage?{query}").status_code == 200
