"""Settings: webhooks and their deliveries."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from tenants import secret_values
from tenants.models import AuditEvent, EventType, Role, Tenant, User, WebhookDelivery, WebhookEndpoint
from tenants.webhooks import deliver
from tenants.webhooks.emit import emit
from tests.support.cast import make_member
from tests.support.receiver import Receiver

pytestmark = pytest.mark.django_db

LIST, NEW = "/settings/webhooks/", "/settings/webhooks/new/"


def form(**fields: Any) -> dict[str, Any]:
    return {"url": "https://hooks.example.com/in", "types": ["key.ready"], "description": "", "new_id": str(uuid.uuid4()), **fields}


def test_registering_leads_to_its_page_without_the_secret(as_alice: Client, acme: Tenant) -> None:
    answer = as_alice.post(NEW, form(), follow=True)

    endpoint = WebhookEndpoint.objects.get()
    assert answer.redirect_chain[-1][0] == f"{LIST}{endpoint.pk}/"
    assert (endpoint.tenant, endpoint.types) == (acme, ["key.ready"])
    assert secret_values.decrypt(endpoint.secret_encrypted) not in answer.content.decode()
    assert "https://hooks.example.com/in" in as_alice.get(LIST).content.decode()


def test_same_form_sent_again_registers_one(as_alice: Client) -> None:
    fields = form()

    assert as_alice.post(NEW, fields).headers["Location"] == as_alice.post(NEW, fields).headers["Location"]
    assert WebhookEndpoint.objects.count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": ""},
        {"url": "ftp://example.com/"},
        {"url": "https://a:b@example.com/"},
        {"types": []},
        {"types": ["key.lost"]},
        {"new_id": ""},
    ],
)
def test_wrong_input_is_shown_with_the_form(as_alice: Client, wrong: dict[str, Any]) -> None:
    answer = as_alice.post(NEW, form(**wrong))

    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_revealing_shows_it_once_in_the_answer_and_is_written_down(as_alice: Client, webhook: WebhookEndpoint) -> None:
    secret = secret_values.decrypt(webhook.secret_encrypted)
    url = f"{LIST}{webhook.pk}/reveal/"

    as_page, as_json = as_alice.post(url), as_alice.post(url, headers={"Accept": "application/json"})
    as_fragment = as_alice.post(url, headers={"HX-Request": "true"})

    assert secret in as_page.content.decode()
    assert as_json.json() == {"value": secret}
    assert secret in as_fragment.content.decode()
    assert "<html" not in as_fragment.content.decode()
    assert all("no-store" in answer.headers["Cache-Control"] for answer in (as_page, as_json, as_fragment))
    assert AuditEvent.objects.filter(action="webhook.secret_revealed").count() == 3
    assert secret not in str(list(AuditEvent.objects.values()))
    assert secret not in as_alice.get(f"{LIST}{webhook.pk}/").content.decode()
    assert "Secret read" in as_alice.get(f"{LIST}{webhook.pk}/").content.decode()


def test_old_session_is_asked_for_the_password_first(client: Client, alice: User, webhook: WebhookEndpoint) -> None:
    client.force_login(alice)
    url = f"{LIST}{webhook.pk}/reveal/"

    assert client.post(url).headers["Location"].startswith("/accounts/reauthenticate/")
    assert client.post(url, headers={"Accept": "application/json"}).status_code == 401
    assert not AuditEvent.objects.filter(action="webhook.secret_revealed").exists()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_lower_roles_look_and_do_nothing(
    signed_in: Callable[[User], Client], acme: Tenant, webhook: WebhookEndpoint, as_alice: Client, role: Role
) -> None:
    as_alice.post(f"{LIST}{webhook.pk}/test/")
    event = WebhookDelivery.objects.get().event_id
    client = signed_in(make_member("erin@example.com", acme, role))

    assert client.get(LIST).status_code == 200
    page = client.get(f"{LIST}{webhook.pk}/").content.decode()
    assert client.get(f"{LIST}{webhook.pk}/deliveries/{event}/").status_code == 200
    assert "Reveal" not in page
    before = AuditEvent.objects.count()
    for path in ("reveal", "change", "rotate", "disable", "enable", "delete", "test", f"deliveries/{event}/replay"):
        assert client.post(f"{LIST}{webhook.pk}/{path}/").status_code == 403, path
        assert f"{LIST}{webhook.pk}/{path}/" not in page
    assert client.post(NEW, form()).status_code == 403
    assert AuditEvent.objects.count() == before


def test_another_tenants_webhook_is_not_found(
    signed_in: Callable[[User], Client], charlie: User, webhook: WebhookEndpoint, as_alice: Client
) -> None:
    as_alice.post(f"{LIST}{webhook.pk}/test/")
    event = WebhookDelivery.objects.get().event_id
    client = signed_in(charlie)

    for path in ("", "change/", "rotate/", "disable/", "enable/", "delete/", f"deliveries/{event}/"):
        assert client.get(f"{LIST}{webhook.pk}/{path}").status_code == 404
    for path in ("reveal", "change", "rotate", "disable", "enable", "delete", "test", f"deliveries/{event}/replay"):
        assert client.post(f"{LIST}{webhook.pk}/{path}/").status_code == 404, path
    assert "hooks.example.com" not in client.get(LIST).content.decode()
    webhook.refresh_from_db()
    assert webhook.is_listening


def test_without_the_csrf_token_nothing_is_done(alice: User, webhook: WebhookEndpoint) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    for path in ("reveal", "rotate", "disable", "delete", "test"):
        assert client.post(f"{LIST}{webhook.pk}/{path}/").status_code == 403
    webhook.refresh_from_db()
    assert webhook.is_listening


def test_changing_disabling_enabling_deleting(as_alice: Client, webhook: WebhookEndpoint) -> None:
    url = f"{LIST}{webhook.pk}/"

    as_alice.post(f"{url}change/", {"url": "https://example.org/", "types": ["quota.80"], "description": "Bot"})
    webhook.refresh_from_db()
    assert (webhook.url, webhook.types, webhook.description) == ("https://example.org/", ["quota.80"], "Bot")

    assert "Disable this webhook?" in as_alice.get(f"{url}disable/").content.decode()
    assert "The webhook was disabled." in as_alice.post(f"{url}disable/", follow=True).content.decode()
    assert "Enable it first." in as_alice.post(f"{url}test/", follow=True).content.decode()
    assert "The webhook was enabled." in as_alice.post(f"{url}enable/", follow=True).content.decode()
    assert "The webhook was deleted." in as_alice.post(f"{url}delete/", follow=True).content.decode()
    assert as_alice.get(url).status_code == 404


def test_rotating_twice_keeps_the_secret_that_the_receiver_has(as_alice: Client, webhook: WebhookEndpoint) -> None:
    first = secret_values.decrypt(webhook.secret_encrypted)
    url = f"{LIST}{webhook.pk}/rotate/"

    as_alice.post(url)
    again = as_alice.post(url, follow=True).content.decode()

    webhook.refresh_from_db()
    assert secret_values.decrypt(webhook.old_secret_encrypted) == first
    assert "the old one signs as well until" in again


def test_test_is_shown_until_it_is_delivered(as_alice: Client, webhook: WebhookEndpoint, receiver: Receiver) -> None:
    WebhookEndpoint.objects.update(url=receiver.url())
    sent = as_alice.post(f"{LIST}{webhook.pk}/test/")
    url = sent.headers["Location"]

    waiting = as_alice.get(url).content.decode()
    deliver.deliver_due()
    delivered = as_alice.get(url, headers={"HX-Request": "true"}).content.decode()

    assert "hx-trigger" in waiting
    assert "Waiting" in waiting
    assert "hx-trigger" not in delivered
    assert "Delivered" in delivered
    assert "<html" not in delivered
    [received] = receiver.received
    page = as_alice.get(url).content.decode()
    assert received.id in page
    assert json.loads(received.body)["data"]["message"] in page


def test_failure_is_told_in_words_and_replayed(as_alice: Client, webhook: WebhookEndpoint, receiver: Receiver) -> None:
    WebhookEndpoint.objects.update(url=receiver.url())
    receiver.answer = lambda _request, _socket: 503
    url = as_alice.post(f"{LIST}{webhook.pk}/test/").headers["Location"]
    deliver.deliver_due()

    assert "503" in as_alice.get(f"{LIST}{webhook.pk}/").content.decode()
    assert "To be tried again" in as_alice.get(url).content.decode()
    assert "Failing" in as_alice.get(LIST).content.decode()
    receiver.answer = lambda _request, _socket: 204
    as_alice.post(f"{url}replay/")
    deliver.deliver_due()
    assert "Delivered" in as_alice.get(url).content.decode()
    assert "Works" in as_alice.get(LIST).content.decode()


def test_deliveries_go_on_by_id_and_are_never_counted(
    as_alice: Client, acme: Tenant, webhook: WebhookEndpoint, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        emit(acme.pk, EventType.KEY_READY, f"key-{number}", {"id": f"key-{number}"})
    ids = [str(each) for each in WebhookDelivery.objects.order_by("-pk").values_list("event", flat=True)]

    with django_assert_max_num_queries(9):
        first = as_alice.get(f"{LIST}{webhook.pk}/").content.decode()
    oldest_shown = WebhookDelivery.objects.order_by("-pk")[24].pk
    second = as_alice.get(f"{LIST}{webhook.pk}/?before={oldest_shown}").content.decode()

    assert [each for each in ids if each in first] == ids[:25]
    assert [each for each in ids if each in second] == ids[25:]
    assert f"?before={oldest_shown}" in first
    assert "?before=" not in second
    for odd in ("x", "-1", "9" * 40, "1"):
        assert as_alice.get(f"{LIST}{webhook.pk}/?before={odd}").status_code == 200


@pytest.mark.parametrize(("path", "most", "words"), [("test", 10, "sending tests"), ("replay", 60, "replaying deliveries")])
def test_tests_and_replays_are_limited(as_alice: Client, webhook: WebhookEndpoint, path: str, most: int, words: str) -> None:
    as_alice.post(f"{LIST}{webhook.pk}/test/")
    event = WebhookDelivery.objects.get().event_id
    url = f"{LIST}{webhook.pk}/test/" if path == "test" else f"{LIST}{webhook.pk}/deliveries/{event}/replay/"
    with time_machine.travel(timezone.now(), tick=False):  # within one minute of the limit
        answers = [as_alice.post(url) for _ in range(most + 1)]

    assert answers[-1].status_code == 429
    assert words in answers[-1].content.decode()


def test_staff_look_without_paths_and_secrets(
    signed_in: Callable[[User], Client], sam: User, as_alice: Client, webhook: WebhookEndpoint
) -> None:
    as_alice.post(f"{LIST}{webhook.pk}/test/")
    client = signed_in(sam)
    delivery = WebhookDelivery.objects.get()

    for url in ("webhookendpoint/", f"webhookendpoint/{webhook.pk}/change/", "webhookdelivery/", f"webhookdelivery/{delivery.pk}/change/"):
        page = client.get(f"/staff/tenants/{url}")
        assert page.status_code == 200
        assert "https://hooks.example.com" in page.content.decode()
        assert "hooks.example.com/in" not in page.content.decode()
        assert webhook.secret_encrypted not in page.content.decode()
    assert client.post(f"/staff/tenants/webhookdelivery/{delivery.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/staff/tenants/idempotentanswer/").status_code == 404
