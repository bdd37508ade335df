import re

import pytest
from django.test import Client

from keys.models import ApiKey, Tier
from keys.services import catalog
from tenants.audit import SYSTEM
from tests.support.factories import make_tier


def test_tiers_says_limits_and_price_in_words(client: Client, premium: Tier, free: Tier) -> None:
    page = client.get("/tiers/").content.decode()
    for text in ("$69.99", "100 requests a second", "Bursts of 50", "50,000 a month", "10 requests a second", "2,000 a day", "Free"):
        assert text in page
    assert 'href="/keys/buy/premium/"' in page


def test_tiers_never_says_how_tenants_are_kept_apart(client: Client, premium: Tier, free: Tier) -> None:
    page = client.get("/tiers/").content.decode().lower()
    assert "pool" not in page
    assert "silo" not in page


def test_tiers_shows_a_tenant_which_they_have(client_of_alice: Client, shop: ApiKey, free: Tier) -> None:
    page = client_of_alice.get("/tiers/").content.decode()
    assert page.count("You have this") == 1
    assert "Buy another key" in page


def test_tiers_leaves_out_a_retired_tier(client: Client, premium: Tier) -> None:
    catalog.retire_tier(tier=make_tier(slug="old", name="Yesteryear"), actor=SYSTEM)
    page = client.get("/tiers/").content.decode()
    assert "Yesteryear" not in page
    assert "Premium" in page


def test_tiers_without_any_says_what_to_do(client: Client, db: None) -> None:
    assert "Come back a little later" in client.get("/tiers/").content.decode()


@pytest.mark.parametrize("path", ["/", "/tiers/"])
def test_comparison_does_not_say_how_tiers_are_built(client: Client, free: Tier, path: str) -> None:
    page = client.get(path).content.decode()
    assert free.name in page
    assert not re.search(r"pool|silo|shared", page, re.IGNORECASE)
