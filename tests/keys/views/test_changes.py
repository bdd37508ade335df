from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from keys.models import ApiKey, Tier
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant, User
from tests.support.factories import buy, make_tier


def post(client: Client, name: str, api_key: ApiKey, /, **form: str) -> str:
    """Send a change, follow it to the key's page, and return that page."""
    detail = reverse("keys:detail", args=[api_key.pk])
    answer = client.post(reverse(f"keys:{name}", args=[api_key.pk]), form, follow=True)
    assert answer.redirect_chain == [(detail, 302)]
    return answer.content.decode()


def test_renaming_changes_name_and_description(client_of_alice: Client, shop: ApiKey) -> None:
    assert "The key was renamed." in post(client_of_alice, "rename", shop, name="Stand", description="By the door")
    shop.refresh_from_db()
    assert (shop.name, shop.description) == ("Stand", "By the door")


def test_renaming_to_nothing_is_refused_and_keeps_what_was_typed(client_of_alice: Client, shop: ApiKey) -> None:
    page = client_of_alice.post(reverse("keys:rename", args=[shop.pk]), {"name": " ", "description": "By the door"}).content.decode()
    assert "Give the key a name." in page
    assert 'value="By the door"' in page
    shop.refresh_from_db()
    assert shop.name == "Shop"


def test_disabling_and_enabling_say_what_happened(client_of_alice: Client, shop: ApiKey) -> None:
    page = post(client_of_alice, "disable", shop)
    assert "The key was disabled." in page
    assert "until you enable it" in page
    assert ApiKey.objects.get().disabled_at
    page = post(client_of_alice, "enable", shop)
    assert "The key was enabled." in page
    assert not ApiKey.objects.get().disabled_at


def test_revoking_says_what_happened(client_of_alice: Client, shop: ApiKey) -> None:
    page = post(client_of_alice, "revoke", shop)
    assert "The key was revoked." in page
    assert "may go on being answered" not in page
    assert ApiKey.objects.get().revoked_at


def test_revoking_a_shared_credential_says_that_copies_may_go_on(client_of_alice: Client, stall: ApiKey) -> None:
    assert "may go on being answered" in client_of_alice.get(reverse("keys:revoke", args=[stall.pk])).content.decode()
    page = post(client_of_alice, "revoke", stall)
    assert "The key was revoked." in page
    assert "may go on being answered until they replace it" in page


def test_disabling_a_shared_credential_is_refused_in_words(client_of_alice: Client, stall: ApiKey) -> None:
    assert "cannot be turned off and on" in post(client_of_alice, "disable", stall)
    assert not ApiKey.objects.get().disabled_at


@pytest.mark.parametrize("name", ["enable", "disable", "revoke"])
def test_pages_that_ask_say_the_effect_and_focus_cancel(client_of_alice: Client, shop: ApiKey, name: str) -> None:
    page = client_of_alice.get(reverse(f"keys:{name}", args=[shop.pk])).content.decode()
    assert "Within about a minute" in page
    assert "data-cancel autofocus" in page


@pytest.mark.parametrize("seconds", [0, 3600])
def test_rotating_says_until_when_the_old_credential_works(client_of_alice: Client, shop: ApiKey, seconds: int) -> None:
    old = shop.gateway_key
    page = post(client_of_alice, "rotate", shop, grace=str(seconds))
    shop.refresh_from_db()
    assert shop.gateway_key != old
    assert "The credential was replaced" in page
    assert (f"before the old one (...{old.last_four}) ends" in page) == bool(seconds)
    assert (f"the old one (...{old.last_four}) for another 59 min, until" in page) == bool(seconds)
    ends_at = shop.credentials.get(gateway_key=old).ends_at
    assert ends_at is not None
    assert abs(ends_at - timezone.now() - timedelta(seconds=seconds)) < timedelta(seconds=30)


@pytest.mark.parametrize("grace", ["", "17", "forever"])
def test_rotating_without_a_choice_is_refused(client_of_alice: Client, shop: ApiKey, grace: str) -> None:
    answer = client_of_alice.post(reverse("keys:rotate", args=[shop.pk]), {"grace": grace})
    assert "errorlist" in answer.content.decode()
    assert shop.credentials.count() == 1


def test_rotating_twice_in_a_grace_period_is_refused_in_words(client_of_alice: Client, shop: ApiKey) -> None:
    api_keys.rotate(api_key=shop, grace=timedelta(hours=1), actor=SYSTEM)
    answer = client_of_alice.post(reverse("keys:rotate", args=[shop.pk]), {"grace": "0"})
    assert "still works" in answer.content.decode()


def test_changes_are_audited_with_the_person(client_of_alice: Client, alice: User, shop: ApiKey) -> None:
    post(client_of_alice, "disable", shop)
    event = AuditEvent.objects.get(action="api_key.disabled")
    assert (event.actor, event.actor_label, event.tenant_id) == (alice, alice.email, shop.tenant_id)
    assert alice.email in client_of_alice.get(reverse("keys:detail", args=[shop.pk])).content.decode()


@pytest.mark.usefixtures("one_window")
def test_rotating_is_limited_by_the_minute(client_of_alice: Client, acme: Tenant, premium: Tier) -> None:
    api_key = buy(acme, make_tier(slug="slow"))
    url = reverse("keys:rotate", args=[api_key.pk])
    assert [client_of_alice.post(url, {"grace": "0"}).status_code for _ in range(11)] == [200] * 10 + [429]


def test_switching_a_key_on_and_off_for_ever_is_limited(client_of_alice: Client, shop: ApiKey) -> None:
    with time_machine.travel(timezone.now().replace(second=0), tick=False):
        answers = [client_of_alice.post(reverse(f"keys:{verb}", args=[shop.pk])).status_code for verb in ("disable", "enable") * 16]

    assert answers == [302] * 30 + [429] * 2
