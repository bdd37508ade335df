"""GET /tiers and /tiers/{slug}."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from keys.services import catalog
from tenants.audit import SYSTEM
from tests.keys.api.asking import refusal, wrong_fields
from tests.support.api import ApiClient
from tests.support.factories import make_tier

pytestmark = pytest.mark.django_db
FIELDS = {
    "slug",
    "name",
    "description",
    "position",
    "price_minor",
    "currency",
    "throttle_rate",
    "throttle_burst",
    "quota_limit",
    "quota_period",
    "max_api_keys",
    "created_at",
    "retired_at",
}


def test_list_shows_what_is_sold_with_numbers_as_numbers(api: ApiClient) -> None:
    make_tier(slug="slow", throttle_rate=Decimal("0.5"), quota_limit=None, quota_period="", price_minor=1999, currency="EUR")
    make_tier(slug="shared", pool_size=3)
    catalog.retire_tier(tier=make_tier(slug="old"), actor=SYSTEM)

    answer = api.get("/tiers").json()

    assert [tier["slug"] for tier in answer["data"]] == ["shared", "slow"]
    assert (answer["next"], answer["previous"]) == (None, None)
    shared, slow = answer["data"]
    assert set(slow) == set(shared) == FIELDS
    assert (slow["throttle_rate"], slow["price_minor"], slow["currency"]) == (0.5, 1999, "EUR")
    assert (slow["quota_limit"], slow["quota_period"], slow["retired_at"]) == (None, None, None)
    assert (shared["throttle_rate"], shared["quota_limit"], shared["quota_period"]) == (10, 2000, "DAY")


def test_retired_tiers_are_listed_when_asked_for_and_always_found(api: ApiClient) -> None:
    make_tier(slug="new")
    catalog.retire_tier(tier=make_tier(slug="old"), actor=SYSTEM)

    assert [tier["slug"] for tier in api.get("/tiers?retired=true").json()["data"]] == ["old"]
    assert [tier["slug"] for tier in api.get("/tiers?retired=false").json()["data"]] == ["new"]
    assert api.get("/tiers/old").json()["retired_at"] is not None
    assert wrong_fields(api.get("/tiers?retired=perhaps")) == {"retired"}


def test_one_tier_has_a_version(api: ApiClient) -> None:
    make_tier(slug="free")
    answer = api.get("/tiers/free")
    assert answer.json() == api.get("/tiers").json()["data"][0]
    assert api.get("/tiers/free", If_None_Match=answer["ETag"]).status_code == 304


def test_unknown_tier(api: ApiClient) -> None:
    assert refusal(api.get("/tiers/none")) == (404, "not-found")


def test_viewers_may_look_and_staff_without_an_organisation_may_not(as_person: Any, bob: Any, sam: Any) -> None:
    make_tier(slug="free")
    assert as_person(bob).get("/tiers").status_code == 200
    assert refusal(as_person(sam).get("/tiers")) == (403, "insufficient-scope")
