"""Who gets a credential, how, and where it never appears."""

import time

import pytest
from django.test import Client
from django.urls import reverse

from keys import values
from keys.models import ApiKey
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tenants.reauth import SIGNED_IN_AT

JSON = {"Accept": "application/json"}
HTMX = {"HX-Request": "true"}


def url_of(api_key: ApiKey) -> str:
    return reverse("keys:reveal", args=[api_key.pk])


def value_of(api_key: ApiKey) -> str:
    return values.decrypt(api_key.gateway_key.value_encrypted)


def grow_old(client: Client) -> None:
    """Let the password of this session have been given an hour ago."""
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] = time.time() - 3600
    session[SIGNED_IN_AT] = time.time() - 3600
    session.save()


def test_reveal_shows_the_credential_and_fills_in_the_snippets(client_of_alice: Client, shop: ApiKey) -> None:
    answer = client_of_alice.post(url_of(shop))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert page.count(value_of(shop)) == 5  # the card and four languages
    assert "YOUR_KEY" not in page
    assert "no-store" in answer["Cache-Control"]


def test_reveal_answers_htmx_with_the_card_alone(client_of_alice: Client, shop: ApiKey) -> None:
    answer = client_of_alice.post(url_of(shop), headers=HTMX)
    assert value_of(shop) in answer.content.decode()
    assert "<html" not in answer.content.decode()
    assert "The credential is shown." in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_reveal_answers_a_script_with_the_value_alone(client_of_alice: Client, shop: ApiKey) -> None:
    answer = client_of_alice.post(url_of(shop), headers=JSON)
    assert answer.json() == {"value": value_of(shop)}
    assert "no-store" in answer["Cache-Control"]


def test_reveal_is_audited_without_the_value(client_of_alice: Client, shop: ApiKey) -> None:
    client_of_alice.post(url_of(shop))
    event = AuditEvent.objects.get(action="api_key.revealed")
    assert event.actor_label == "alice@example.com"
    assert value_of(shop) not in str(event.data)


def test_reveal_asks_for_the_password_again_when_it_was_given_long_ago(client_of_alice: Client, shop: ApiKey) -> None:
    grow_old(client_of_alice)
    detail = reverse("keys:detail", args=[shop.pk])
    page = client_of_alice.post(url_of(shop), headers={"Referer": f"http://testserver{detail}"})
    assert page.status_code == 302
    assert page["Location"].startswith("/accounts/reauthenticate/?next=%2Fkeys%2F")
    script = client_of_alice.post(url_of(shop), headers=JSON)
    assert script.status_code == 401
    assert script.json()["reauthenticate"].startswith("/accounts/reauthenticate/")
    assert client_of_alice.post(url_of(shop), headers=HTMX)["HX-Redirect"].startswith("/accounts/reauthenticate/")
    assert not AuditEvent.objects.filter(action="api_key.revealed").exists()


def test_reveal_of_a_revoked_key_is_refused_in_words(client_of_alice: Client, shop: ApiKey) -> None:
    api_keys.revoke(api_key=shop, actor=SYSTEM)
    assert "was revoked" in client_of_alice.post(url_of(shop), follow=True).content.decode()
    script = client_of_alice.post(url_of(shop), headers=JSON)
    assert (script.status_code, set(script.json())) == (409, {"error"})


def test_reveal_takes_no_get(client_of_alice: Client, shop: ApiKey) -> None:
    assert client_of_alice.get(url_of(shop)).status_code == 405


@pytest.mark.usefixtures("one_window")
def test_reveal_is_limited_by_the_minute(client_of_alice: Client, shop: ApiKey) -> None:
    statuses = [client_of_alice.post(url_of(shop), headers=JSON).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]


@pytest.mark.parametrize(
    "path", ["/keys/", "/keys/{pk}/", "/keys/{pk}/state/", "/keys/{pk}/row/", "/console/?key={pk}", "/keys/{pk}/rotate/"]
)
def test_no_other_page_holds_the_credential(client_of_alice: Client, shop: ApiKey, path: str) -> None:
    answer = client_of_alice.get(path.format(pk=shop.pk))
    assert answer.status_code == 200
    assert value_of(shop) not in answer.content.decode()
    assert shop.gateway_key.value_encrypted not in answer.content.decode()


def test_reveal_logs_no_credential(
    client_of_alice: Client, shop: ApiKey, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    client_of_alice.post(url_of(shop), headers=JSON)
    captured = capfd.readouterr()
    assert value_of(shop) not in captured.out + captured.err + caplog.text
