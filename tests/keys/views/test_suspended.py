"""A suspended tenant's pages: they say so, and offer nothing that is refused."""

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from keys.models import ApiKey
from keys.services import tenants
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.factories import bring_into_service, buy, make_tier

pytestmark = pytest.mark.django_db
BANNER = "Your organisation is suspended."


@pytest.fixture
def siloed(acme: Tenant) -> ApiKey:
    return _of_suspended(acme, None)


@pytest.fixture
def pooled(acme: Tenant) -> ApiKey:
    return _of_suspended(acme, 1)


def _of_suspended(acme: Tenant, pool_size: int | None) -> ApiKey:
    api_key = buy(acme, make_tier(slug="free", pool_size=pool_size))
    bring_into_service()
    tenants.suspend(tenant=acme, reason="Card fraud suspected", actor=SYSTEM)
    return ApiKey.objects.get(pk=api_key.pk)


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("page", ["list", "detail", "console", "tiers", "buy", "rename"])
def test_every_page_says_it_and_not_why(client_of_alice: Client, siloed: ApiKey, page: str) -> None:
    arguments = {"detail": [siloed.pk], "rename": [siloed.pk], "buy": ["free"]}.get(page, [])

    text = text_of(client_of_alice, reverse(f"keys:{page}", args=arguments))

    assert text.count(BANNER) == 1
    assert "fraud" not in text


def test_other_tenants_see_no_banner(client: Client, charlie: object, siloed: ApiKey) -> None:
    client.force_login(charlie)  # type: ignore[arg-type]

    assert BANNER not in text_of(client, reverse("keys:list"))
    assert BANNER not in text_of(client, reverse("keys:tiers"))


@pytest.mark.parametrize("kind", ["siloed", "pooled"])
def test_key_is_shown_disabled_and_offers_what_stays_possible(client_of_alice: Client, request: pytest.FixtureRequest, kind: str) -> None:
    api_key = request.getfixturevalue(kind)

    for url in (reverse("keys:detail", args=[api_key.pk]), reverse("keys:list")):
        text = text_of(client_of_alice, url)
        assert "Disabled" in text
        for offered in ("rename", "revoke"):
            assert reverse(f"keys:{offered}", args=[api_key.pk]) in text
        for refused in ("enable", "disable", "rotate", "reveal"):
            assert reverse(f"keys:{refused}", args=[api_key.pk]) not in text


def test_nothing_can_be_bought(client_of_alice: Client, siloed: ApiKey) -> None:
    url = reverse("keys:buy", args=["free"])
    assert "<form" not in text_of(client_of_alice, url).split("<main")[1]
    assert url not in text_of(client_of_alice, reverse("keys:tiers"))

    answer = client_of_alice.post(url, {"name": "Till", "description": "", "purchase_token": "7d0a1dc5-5d44-4b0f-9d0a-6c1a5d3d3f3c"})

    assert answer.status_code == 200
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("action", ["enable", "disable", "rotate"])
def test_changes_are_refused_with_the_reason(client_of_alice: Client, siloed: ApiKey, action: str) -> None:
    answer = client_of_alice.post(reverse(f"keys:{action}", args=[siloed.pk]), {"grace": "0"}, follow=True)

    assert "Acme is suspended" in answer.content.decode()


def test_credential_is_not_handed_out(client_of_alice: Client, siloed: ApiKey) -> None:
    answer = client_of_alice.post(reverse("keys:reveal", args=[siloed.pk]), headers={"Accept": "application/json"})

    assert answer.status_code == 409
    assert "Acme is suspended" in answer.json()["error"]


def test_console_knows_it(client_of_alice: Client, siloed: ApiKey) -> None:
    text = text_of(client_of_alice, reverse("keys:console"))

    found = re.search(r'<script id="console-data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert data["keys"][str(siloed.pk)]["status"] == "suspended"
    assert "suspended" in data["words"]["state"]["suspended"]


def test_renaming_and_revoking_work(client_of_alice: Client, siloed: ApiKey) -> None:
    client_of_alice.post(reverse("keys:rename", args=[siloed.pk]), {"name": "Till", "description": ""})
    client_of_alice.post(reverse("keys:revoke", args=[siloed.pk]))

    siloed.refresh_from_db()
    assert siloed.name == "Till"
    assert siloed.revoked_at is not None


def test_list_takes_the_same_queries_for_any_rows(client_of_alice: Client, acme: Tenant, django_assert_num_queries: object) -> None:
    tier = make_tier(pool_size=1, max_api_keys=100)
    counts = []
    for more in (1, 9):
        for _ in range(more):
            buy(acme, tier)
        with django_assert_num_queries(7) as captured:  # type: ignore[operator]
            text_of(client_of_alice, reverse("keys:list"))
        counts.append(len(captured))

    assert counts == [7, 7]
