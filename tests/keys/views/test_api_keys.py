from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from keys.models import ApiKey, Gateway, GatewayKey, Stage, Tier, UsageDay
from keys.services import api_keys, pools
from tenants.audit import SYSTEM, Actor, record
from tenants.models import Membership, Tenant, User
from tests.support.cast import make_member
from tests.support.factories import bring_into_service, buy, make_gateway, make_tier

# Session, person, membership (with its tenant), count, page of keys, usage of their gateway keys; of those that are being prepared,
# which have an older credential that works.
LIST_QUERIES = 7
# Session, person, membership, key, usage, stage, old credentials, days, history.
DETAIL_QUERIES = 14  # five of them because the key is being prepared
# Session, person, membership, keys, stages, usage, older credentials, stage origins.
CONSOLE_QUERIES = 8


def many(tenant: Tenant, tier: Tier, count: int) -> list[ApiKey]:
    return [buy(tenant, tier, name=f"Key {number}") for number in range(count)]


def used(api_key: ApiKey, requests: int) -> None:
    now = timezone.now()
    UsageDay.objects.update_or_create(
        gateway_key=api_key.gateway_key,
        date=now.date(),
        defaults={"used": requests, "remaining": None, "read_at": now - timedelta(minutes=3)},
    )


@pytest.mark.parametrize("count", [1, 3, 100])
def test_list_asks_as_much_for_many_keys_as_for_one(
    client_of_alice: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    many(acme, make_tier(pool_size=2, max_api_keys=100), count)
    with django_assert_num_queries(LIST_QUERIES):
        answer = client_of_alice.get(reverse("keys:list"))
    assert answer.content.decode().count('<tr id="row-') == min(count, 25)


@pytest.mark.parametrize("count", [1, 3])
def test_detail_and_console_ask_as_much_for_many_keys_as_for_one(
    client_of_alice: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    api_key = many(acme, make_tier(pool_size=2), count)[0]
    with django_assert_num_queries(DETAIL_QUERIES):
        client_of_alice.get(reverse("keys:detail", args=[api_key.pk]))
    with django_assert_num_queries(CONSOLE_QUERIES):
        client_of_alice.get(reverse("keys:console"))


def test_list_shows_what_each_key_is_and_has_used(client_of_alice: Client, shop: ApiKey) -> None:
    used(shop, 12_500)
    page = client_of_alice.get(reverse("keys:list")).content.decode()
    for text in (
        "Shop",
        "Premium",
        f"...{shop.gateway_key.last_four}",
        "status--good",
        "Ready",
        "12,500 of 50,000",
        "25 %",
        "resets in",
        "3\xa0minutes ago",
    ):
        assert text in page


def test_list_is_searched_by_name_description_and_last_four(client_of_alice: Client, shop: ApiKey, stall: ApiKey) -> None:
    for query in ("shop", shop.gateway_key.last_four, f"...{shop.gateway_key.last_four}"):
        page = client_of_alice.get(reverse("keys:list"), {"q": query}).content.decode()
        assert "Shop" in page
        assert "Stall" not in page


def test_list_says_when_nothing_matches(client_of_alice: Client, shop: ApiKey) -> None:
    page = client_of_alice.get(reverse("keys:list"), {"q": "zebra"}).content.decode()
    assert "No key matches" in page
    assert "Show all keys" in page


def test_list_without_keys_carries_the_next_step(client_of_alice: Client) -> None:
    page = client_of_alice.get(reverse("keys:list")).content.decode()
    assert "No keys yet" in page
    assert 'href="/tiers/"' in page


def test_list_is_paged_and_keeps_the_search(client_of_alice: Client, acme: Tenant) -> None:
    many(acme, make_tier(pool_size=2, max_api_keys=100), 30)
    page = client_of_alice.get(reverse("keys:list"), {"q": "Key", "page": 2}).content.decode()
    assert page.count('<tr id="row-') == 5
    assert "q=Key&amp;page=1" in page


def test_rows_ask_for_themselves_only_while_a_key_is_prepared(client_of_alice: Client, acme: Tenant, shop: ApiKey) -> None:
    waiting = buy(acme, make_tier(slug="slow", name="Slow"), name="Waiting")
    page = client_of_alice.get(reverse("keys:list")).content.decode()
    url = reverse("keys:row", args=[waiting.pk])
    assert page.count('hx-trigger="every 2s"') == 1
    assert url in page
    assert client_of_alice.get(url).status_code == 204

    bring_into_service()
    row = client_of_alice.get(url)
    assert row.status_code == 200
    assert "Waiting is ready." in row.content.decode()
    assert "hx-get" not in row.content.decode()


def test_state_of_a_prepared_key_turns_ready_by_itself(client_of_alice: Client, acme: Tenant, premium: Tier) -> None:
    waiting = buy(acme, make_tier(slug="slow", name="Slow"), name="Waiting")
    url = reverse("keys:state", args=[waiting.pk])
    page = client_of_alice.get(reverse("keys:detail", args=[waiting.pk])).content.decode()
    assert f'hx-get="{url}"' in page
    assert reverse("keys:rotate", args=[waiting.pk]) not in page
    assert client_of_alice.get(url).status_code == 204

    bring_into_service()
    state = client_of_alice.get(url).content.decode()
    assert "Waiting is ready." in state
    assert reverse("keys:rotate", args=[waiting.pk]) in state
    assert "no-store" in client_of_alice.get(url)["Cache-Control"]


def test_detail_shows_limits_usage_address_and_history(client_of_alice: Client, shop: ApiKey) -> None:
    used(shop, 12_500)
    page = client_of_alice.get(reverse("keys:detail", args=[shop.pk])).content.decode()
    for text in (
        "100 requests a second",
        "50 requests at once",
        "50,000 a month",
        "12,500 of 50,000",
        "resets in",
        "UTC)",
        "http://127.0.0.1:4510/_aws/execute-api/groceries/v1/api",
        "12,500 requests",
        "Bought",
        "YOUR_KEY",
    ):
        assert text in page


def test_detail_of_a_shared_credential_offers_only_what_it_can_keep(client_of_alice: Client, stall: ApiKey) -> None:
    page = client_of_alice.get(reverse("keys:detail", args=[stall.pk])).content.decode()
    for name in ("disable", "enable", "rotate"):
        assert reverse(f"keys:{name}", args=[stall.pk]) not in page
    assert "may go on being answered" in page
    assert "pool" not in page.lower()


def test_detail_in_a_grace_period_names_both_credentials_and_until_when(client_of_alice: Client, shop: ApiKey) -> None:
    old = shop.gateway_key.last_four
    api_keys.rotate(api_key=shop, grace=timedelta(hours=1), actor=SYSTEM)
    shop.refresh_from_db()
    page = client_of_alice.get(reverse("keys:detail", args=[shop.pk])).content.decode()
    assert f"the new one (...{shop.gateway_key.last_four})" in page
    assert f"the old one (...{old}) for another 59 min, until" in page
    assert reverse("keys:rotate", args=[shop.pk]) not in page


def test_key_that_moved_says_which_credential_is_for_which_url(client_of_alice: Client, acme: Tenant) -> None:
    tier = make_tier(pool_size=2, gateways=[make_gateway(), make_gateway()])
    for number, gateway in enumerate(Gateway.objects.order_by("pk")):
        tier.stages.filter(gateway=gateway).update(invoke_url=f"https://shop-{number}.example.com/v1")
    bring_into_service()
    many(acme, tier, 2)

    pools.resize_pool(tier=tier, size=1, actor=SYSTEM)

    moved = ApiKey.objects.get(credentials__ends_at__isnull=False)
    url = Stage.objects.get(gateway=moved.gateway_key.gateway).invoke_url
    page = client_of_alice.get(reverse("keys:detail", args=[moved.pk])).content.decode()
    assert "Two credentials work: the new one" in page
    assert f"The URL changed with the credential: the new one is for calls to {url}," in page
    stayed = ApiKey.objects.exclude(pk=moved.pk).get()
    assert "The URL changed" not in client_of_alice.get(reverse("keys:detail", args=[stayed.pk])).content.decode()

    Stage.objects.update(invoke_url="https://shop.example.com/v1")  # a domain of one's own in front of both
    assert "The URL changed" not in client_of_alice.get(reverse("keys:detail", args=[moved.pk])).content.decode()


def test_key_works_on_while_its_new_credential_is_being_made(client_of_alice: Client, stall: ApiKey) -> None:
    old = stall.gateway_key
    pools.replace_pool_key(gateway_key=old, grace=timedelta(days=7), actor=SYSTEM)
    listed = client_of_alice.get(reverse("keys:list")).content.decode()
    page = client_of_alice.get(reverse("keys:detail", args=[stall.pk])).content.decode()

    for text in (listed, page):
        assert "New credential on its way; the present one goes on working." in text
        assert "Ready" in text
        assert "Preparing" not in text
    assert f"The present credential (...{old.last_four}) works for another 6 d 23 h" in page
    row, state = reverse("keys:row", args=[stall.pk]), reverse("keys:state", args=[stall.pk])
    assert f'hx-get="{row}"' in listed
    assert f'hx-get="{state}"' in page
    assert [client_of_alice.get(url).status_code for url in (row, state)] == [204, 204]
    assert '"status": "renewing"' in client_of_alice.get(reverse("keys:console")).content.decode()

    bring_into_service()
    for url in (row, state):
        news = client_of_alice.get(url).content.decode()
        assert "Stall is ready." in news
        assert "on its way" not in news
    assert "Two credentials work: the new one" in client_of_alice.get(state).content.decode()


def test_list_asks_no_more_for_many_keys_whose_credentials_are_being_made(
    client_of_alice: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    many(acme, make_tier(pool_size=1, max_api_keys=20), 20)
    bring_into_service()
    pools.replace_pool_key(gateway_key=GatewayKey.objects.get(), grace=timedelta(days=1), actor=SYSTEM)
    with django_assert_num_queries(LIST_QUERIES):
        page = client_of_alice.get(reverse("keys:list")).content.decode()
    assert page.count("New credential on its way") == 20


def test_detail_of_a_revoked_key_keeps_its_history_and_offers_nothing(client_of_alice: Client, shop: ApiKey) -> None:
    api_keys.revoke(api_key=shop, actor=SYSTEM)
    page = client_of_alice.get(reverse("keys:detail", args=[shop.pk])).content.decode()
    assert "for ever" in page
    assert "Revoked" in page
    for name in ("reveal", "rename", "disable", "enable", "rotate", "revoke"):
        assert reverse(f"keys:{name}", args=[shop.pk]) not in page


def test_search_for_what_no_database_can_hold_finds_what_remains_of_it(client_of_alice: Client, shop: ApiKey) -> None:
    answer = client_of_alice.get(reverse("keys:list"), {"q": f"\0{shop.name}\0"})
    assert answer.status_code == 200
    assert f'<tr id="row-{shop.pk}"' in answer.content.decode()


def test_history_names_no_staff_and_no_commands(client_of_alice: Client, shop: ApiKey, sam: User) -> None:
    def happened(action: str, actor: Actor) -> None:
        record(actor=actor, action=action, target=shop, tenant=shop.tenant)

    happened("api_key.disabled", Actor(user=sam, label=sam.email))
    happened("api_key.moved", Actor.command("resize_pool"))
    page = client_of_alice.get(reverse("keys:detail", args=[shop.pk])).content.decode()
    assert "Tollgate staff" in page
    assert "Given a new credential by our staff" in page
    assert "System" in page
    assert sam.email not in page
    assert "manage.py" not in page


def test_history_names_colleagues(client_of_alice: Client, shop: ApiKey, alice: User) -> None:
    api_keys.disable(api_key=shop, actor=Actor(user=alice, label=alice.email))
    client_of_alice.logout()
    bob = make_member("ben@example.com", shop.tenant)
    client_of_alice.force_login(bob)
    assert alice.email in client_of_alice.get(reverse("keys:detail", args=[shop.pk])).content.decode()


def test_empty_list_offers_a_viewer_no_purchase(client: Client, bob: User) -> None:
    client.force_login(bob)
    page = client.get(reverse("keys:list")).content.decode()
    assert "Your role may look and not buy" in page


def test_menu_switches_organisations_where_there_are_several(client_of_alice: Client, alice: User, outsiders: Tenant) -> None:
    switch = reverse("tenants:switch")
    assert switch not in client_of_alice.get(reverse("keys:list")).content.decode()
    Membership.objects.create(user=alice, tenant=outsiders)
    assert switch in client_of_alice.get(reverse("keys:list")).content.decode()


def test_key_that_is_being_prepared_says_about_how_long(client_of_alice: Client, acme: Tenant) -> None:
    api_key = many(acme, make_tier(), 1)[0]
    Gateway.objects.update(propagation_seconds=30)
    url = reverse("keys:detail", args=[api_key.pk])

    assert "about 35 s" in client_of_alice.get(url).content.decode()

    GatewayKey.objects.update(in_service_at=timezone.now() + timedelta(seconds=119))
    assert "about 2 min" in client_of_alice.get(url).content.decode()

    GatewayKey.objects.update(in_service_at=None, last_error="It failed.")
    assert "longer than usual" in client_of_alice.get(url).content.decode()
