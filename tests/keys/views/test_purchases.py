import re
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from keys.models import ApiKey, Tier
from keys.services import catalog
from tenants.audit import SYSTEM
from tests.support.factories import make_tier

URL = "/keys/buy/premium/"


def token_of(client: Client, url: str = URL) -> str:
    match = re.search(r'name="purchase_token" value="([0-9a-f-]{36})"', client.get(url).content.decode())
    assert match
    return match[1]


def test_buying_makes_a_key_and_leads_to_its_page(client_of_alice: Client, premium: Tier) -> None:
    answer = client_of_alice.post(URL, {"name": "Shop", "description": "Till", "purchase_token": token_of(client_of_alice)}, follow=True)
    api_key = ApiKey.objects.get()
    assert (api_key.name, api_key.description, api_key.tier) == ("Shop", "Till", premium)
    assert answer.redirect_chain == [(reverse("keys:detail", args=[api_key.pk]), 302)]
    assert "was bought and is ready" in answer.content.decode()


def test_buying_with_the_same_form_twice_buys_once(client_of_alice: Client, premium: Tier) -> None:
    form = {"name": "Shop", "purchase_token": token_of(client_of_alice)}
    first, second = client_of_alice.post(URL, form), client_of_alice.post(URL, form)
    assert ApiKey.objects.count() == 1
    assert first["Location"] == second["Location"]


def test_each_form_has_a_token_of_its_own(client_of_alice: Client, premium: Tier) -> None:
    assert token_of(client_of_alice) != token_of(client_of_alice)


def test_buying_more_than_the_tier_allows_says_so_and_keeps_what_was_typed(client_of_alice: Client, premium: Tier) -> None:
    make_tier(slug="one", name="One", max_api_keys=1)
    client_of_alice.post("/keys/buy/one/", {"name": "First", "purchase_token": uuid.uuid4()})
    token = str(uuid.uuid4())
    page = client_of_alice.post("/keys/buy/one/", {"name": "Second", "description": "Till 2", "purchase_token": token}).content.decode()
    assert "as many as it allows" in page
    assert all(f'value="{text}"' in page for text in ("Second", "Till 2", token))
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    ("form", "text"), [({"purchase_token": str(uuid.uuid4())}, "Give the key a name."), ({"name": "Shop"}, "Open it again.")]
)
def test_buying_without_what_it_needs_says_what(client_of_alice: Client, premium: Tier, form: dict[str, str], text: str) -> None:
    assert text in client_of_alice.post(URL, form).content.decode()
    assert not ApiKey.objects.exists()


def test_buying_a_paid_tier_says_that_the_demo_charges_nothing(client_of_alice: Client, premium: Tier, free: Tier) -> None:
    assert "This demo charges nothing." in client_of_alice.get(URL).content.decode()
    assert "This demo charges nothing." not in client_of_alice.get("/keys/buy/free/").content.decode()


def test_buying_a_retired_tier_shows_the_way_to_others(client_of_alice: Client, premium: Tier) -> None:
    catalog.retire_tier(tier=premium, actor=SYSTEM)
    assert "no longer sold" in client_of_alice.get(URL).content.decode()
    assert "no longer sold" in client_of_alice.post(URL, {"name": "Shop", "purchase_token": uuid.uuid4()}).content.decode()
    assert not ApiKey.objects.exists()


def test_buying_an_unknown_tier_is_not_found(client_of_alice: Client) -> None:
    assert client_of_alice.get("/keys/buy/nothing/").status_code == 404


def test_buying_without_a_spare_says_that_the_key_is_being_prepared(client_of_alice: Client, premium: Tier) -> None:
    make_tier(slug="slow", name="Slow", spare_target=0)
    answer = client_of_alice.post("/keys/buy/slow/", {"name": "Shop", "purchase_token": uuid.uuid4()}, follow=True)
    page = answer.content.decode()
    assert "It is being prepared." in page
    assert reverse("keys:state", args=[ApiKey.objects.get().pk]) in page
