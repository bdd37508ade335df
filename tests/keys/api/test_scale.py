"""Fault matrix, row 14, for what costs money; and how PostgreSQL reads a page in the middle of many keys."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from keys.models import ApiKey, Credential
from tenants.models import Tenant, User
from tests.support.api import ApiClient, make_client, token_for
from tests.support.factories import bring_into_service, make_tier
from tests.support.web import web_process
from tests.tenants.api.test_idempotency_races import OPTIONS, at_the_same_moment

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("pool_size", [3, None], ids=["pooled", "siloed"])
def test_100_twins_buy_one_key_and_get_one_answer(alice: User, tmp_path: Path, pool_size: int | None) -> None:
    make_tier(slug="any", pool_size=pool_size, max_api_keys=1000)
    bring_into_service()
    secret, body = token_for(alice), {"tier": "any", "name": "Shop"}
    with web_process(tmp_path, workers=2, threads=8, **OPTIONS) as web:
        answers = at_the_same_moment(100, lambda _n: web.call("POST", "/api/v1/keys", body, secret=secret, Idempotency_Key="a"))
        other = web.call("POST", "/api/v1/keys", {**body, "name": "Other"}, secret=secret, Idempotency_Key="a")
    assert {answer.status for answer in answers} == {201}, web.log.read_text()[-4000:]
    assert len({answer.body for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", *["true"] * 99]
    assert other.status == 422
    bought = ApiKey.objects.get()
    assert answers[0].json()["id"] == str(bought.pk)
    assert answers[0].json()["credential"].endswith(bought.gateway_key.last_four)
    assert Credential.objects.count() == 1


def plan_of(api: ApiClient, path: str) -> tuple[str, dict[str, Any]]:
    """How PostgreSQL answers the query for the rows of a page, and the page."""
    seen: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        seen.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        page = api.get(path).json()
    [(sql, parameters)] = [each for each in seen if 'FROM "keys_apikey"' in each[0]]
    listed = [each for each, _parameters in seen if 'FROM "keys_apikey"' in each]
    assert not [each for each in listed if "COUNT(" in each.upper() or "OFFSET" in each.upper()]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(row[0] for row in cursor.fetchall()), page


def test_deep_page_is_read_from_the_index_without_sorting(acme: Tenant, outsiders: Tenant, alice: User) -> None:
    tier = make_tier(pool_size=1)
    key = tier.usage_plans.get().gateway_keys.get()
    now = timezone.now()
    ApiKey.objects.bulk_create(
        ApiKey(
            id=uuid.uuid4(),
            tenant=outsiders if number % 10 else acme,
            tier=tier,
            gateway_key=key,
            slot=number,
            name=f"Key {number}",
            created_at=now - timedelta(seconds=number // 7),
        )
        for number in range(10_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    api = make_client(alice)
    page = {"next": "/keys?limit=100"}
    for _ in range(4):
        page = api.get(page["next"]).json()
    for link in ("next", "previous"):
        plan, answer = plan_of(api, page[link])
        assert len(answer["data"]) == 100
        assert "Sort" not in plan, plan
        assert "Index Scan" in plan
        assert "api_key_newest_of_a_tenant" in plan, plan
        assert "ROW(created_at, id)" in plan, plan
