"""``/webhooks``: registering, changing, secrets, tests, deliveries and replays."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tenants.models import AuditEvent, EventType, IdempotentAnswer, Tenant, User, WebhookDelivery, WebhookEndpoint
from tenants.webhooks import deliver
from tenants.webhooks.emit import emit
from tests.support.api import ApiClient
from tests.support.receiver import Receiver, a_receiver

pytestmark = pytest.mark.django_db

BODY = {"url": "https://hooks.example.com/in?key=abc", "types": ["key.ready", "quota.80"], "description": " Bot "}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """No bells: tests send what is due themselves, to this machine."""
    monkeypatch.setattr("tenants.webhooks.bell._ring_now", lambda: None)
    settings.WEBHOOK_PRIVATE_ADDRESSES = "loopback"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as made:
        yield made


def register(api: ApiClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/webhooks", {**BODY, **fields})
    assert answer.status_code == 201, answer.content
    shown: dict[str, Any] = answer.json()
    return shown


def test_registering_answers_the_secret_this_once(api: ApiClient) -> None:
    made = register(api)

    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["types"], made["description"], made["status"]) == (BODY["url"], BODY["types"], "Bot", "enabled")
    shown = api.get(f"/webhooks/{made['id']}")
    assert "secret" not in shown.json()
    assert shown.json() == {name: value for name, value in made.items() if name != "secret"}
    [listed] = api.get("/webhooks").json()["data"]
    assert listed == shown.json()
    assert made["secret"] not in json.dumps(list(AuditEvent.objects.values("data", "target_label")), default=str)
    assert made["secret"] not in json.dumps(list(WebhookEndpoint.objects.values()), default=str)


def test_same_key_registers_once_and_keeps_no_secret_in_clear(api: ApiClient) -> None:
    first = api.post("/webhooks", BODY, Idempotency_Key="one")
    again = api.post("/webhooks", BODY, Idempotency_Key="one")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert WebhookEndpoint.objects.count() == 1
    assert first.json()["secret"] not in IdempotentAnswer.objects.get().body


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": ""}, "url"),
        ({"types": []}, "types"),
        ({"types": ["key.lost"]}, "types"),
        ({"secret": "mine"}, "secret"),
        ({"description": "x" * 201}, "description"),
    ],
)
def test_wrong_field_is_named(api: ApiClient, wrong: dict[str, Any], field: str) -> None:
    answer = api.post("/webhooks", {**BODY, **wrong})

    assert answer.status_code == 400
    assert [each["field"].partition(".")[0] for each in answer.json()["errors"]] == [field]
    assert not WebhookEndpoint.objects.exists()


def test_changing_leaves_what_is_left_out(api: ApiClient) -> None:
    made = register(api)

    changed = api.patch(f"/webhooks/{made['id']}", {"types": ["key.revoked"], "status": "disabled"})

    assert changed.status_code == 200
    assert (changed.json()["types"], changed.json()["status"], changed.json()["url"]) == (["key.revoked"], "disabled", BODY["url"])
    assert changed.json()["disabled_at"] is not None
    enabled = api.patch(f"/webhooks/{made['id']}", {"status": "enabled"}).json()
    assert (enabled["status"], enabled["disabled_at"]) == ("enabled", None)


def test_older_version_is_not_changed_and_a_delivery_makes_none(api: ApiClient) -> None:
    made = register(api)
    etag = api.get(f"/webhooks/{made['id']}").headers["ETag"]
    WebhookEndpoint.objects.update(failures=3)

    assert api.patch(f"/webhooks/{made['id']}", {"description": "a"}, If_Match=etag).status_code == 200
    assert api.patch(f"/webhooks/{made['id']}", {"description": "b"}, If_Match=etag).status_code == 412
    assert api.delete(f"/webhooks/{made['id']}", If_Match=etag).status_code == 412
    assert WebhookEndpoint.objects.get().description == "a"


def test_deleted_one_is_gone(api: ApiClient) -> None:
    made = register(api)

    assert api.delete(f"/webhooks/{made['id']}").status_code == 204
    assert api.get(f"/webhooks/{made['id']}").status_code == 404
    assert api.delete(f"/webhooks/{made['id']}").status_code == 404
    assert api.get("/webhooks").json()["data"] == []


def test_rotating_answers_a_new_secret_and_not_twice_in_the_grace_period(api: ApiClient) -> None:
    made = register(api)

    rotated = api.post(f"/webhooks/{made['id']}/rotate-secret")

    assert rotated.status_code == 200
    assert rotated.json()["secret"] not in {None, made["secret"]}
    assert rotated.json()["old_secret_ends_at"] is not None
    again = api.post(f"/webhooks/{made['id']}/rotate-secret")
    assert (again.status_code, again.json()["type"].split("/")[-2]) == (409, "refused")


def test_test_is_delivered_listed_and_replayed(api: ApiClient, receiver: Receiver) -> None:
    made = register(api, url=receiver.url())

    sent = api.post(f"/webhooks/{made['id']}/test")
    deliver.deliver_due()

    assert (sent.status_code, sent.json()["status"], sent.json()["attempts"]) == (201, "waiting", 0)
    delivery = api.get(sent.headers["Location"]).json()
    assert (delivery["status"], delivery["last_status"], delivery["next_try_at"]) == ("delivered", 204, None)
    [received] = receiver.received
    assert received.id == delivery["id"] == sent.json()["id"]
    assert json.loads(received.body) == delivery["payload"]
    assert api.get(f"/webhooks/{made['id']}/deliveries").json()["data"] == [delivery]

    replayed = api.post(f"/webhooks/{made['id']}/deliveries/{delivery['id']}/replay")
    deliver.deliver_due()
    assert (replayed.status_code, replayed.json()["status"]) == (200, "waiting")
    assert [each.id for each in receiver.received] == [delivery["id"], delivery["id"]]


def test_disabled_one_refuses_tests_and_replays(api: ApiClient) -> None:
    made = register(api)
    delivery = api.post(f"/webhooks/{made['id']}/test").json()
    api.patch(f"/webhooks/{made['id']}", {"status": "disabled"})

    for path in ("test", f"deliveries/{delivery['id']}/replay"):
        assert api.post(f"/webhooks/{made['id']}/{path}").status_code == 409


def test_deliveries_are_walked_newest_first_also_when_one_is_replayed_meanwhile(api: ApiClient, acme: Tenant) -> None:
    made = register(api, types=["key.ready"])
    for number in range(5):
        emit(acme.pk, EventType.KEY_READY, f"key-{number}", {"id": f"key-{number}"})
    expected = [str(each) for each in WebhookDelivery.objects.order_by("-pk").values_list("event", flat=True)]

    first = api.get(f"/webhooks/{made['id']}/deliveries?limit=2").json()
    api.post(f"/webhooks/{made['id']}/deliveries/{expected[-1]}/replay")
    seen, page = [each["id"] for each in first["data"]], first
    while page["next"]:
        page = api.get(page["next"]).json()
        seen += [each["id"] for each in page["data"]]

    assert seen == expected
    assert [each["id"] for each in api.get(page["previous"]).json()["data"]] == expected[2:4]


def test_deliveries_are_filtered(api: ApiClient, acme: Tenant) -> None:
    made = register(api, types=["key.ready"])
    emit(acme.pk, EventType.KEY_READY, "key-1", {"id": "key-1"})
    api.post(f"/webhooks/{made['id']}/test")
    WebhookDelivery.objects.filter(event__type="key.ready").update(parked_at="2026-11-20T00:00:00Z")
    url = f"/webhooks/{made['id']}/deliveries"

    def types(query: str) -> list[str]:
        return [each["type"] for each in api.get(f"{url}?{query}").json()["data"]]

    assert types("status=given_up") == ["key.ready"]
    assert types("status=waiting") == ["webhook.test"]
    assert types("status=delivered") == []
    assert types("type=key.ready") == ["key.ready"]
    assert api.get(f"{url}?status=parked").status_code == 400


def test_another_tenants_webhook_is_not_found(api: ApiClient, as_person: Callable[..., ApiClient], charlie: User) -> None:
    made = register(api)
    delivery = api.post(f"/webhooks/{made['id']}/test").json()
    theirs = as_person(charlie)
    mine = register(theirs)

    for method, path in [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate-secret"), ("POST", "/test"), ("GET", "/deliveries"),
        ("GET", f"/deliveries/{delivery['id']}"), ("POST", f"/deliveries/{delivery['id']}/replay"),
    ]:  # fmt: skip
        answer = theirs.call(method, f"/webhooks/{made['id']}{path}", None if method == "GET" else {})
        missing = theirs.call(method, f"/webhooks/{uuid.uuid4()}{path}", None if method == "GET" else {})
        assert answer.status_code == missing.status_code == 404
    assert theirs.post(f"/webhooks/{mine['id']}/deliveries/{delivery['id']}/replay").status_code == 404
    assert [each["id"] for each in theirs.get("/webhooks").json()["data"]] == [mine["id"]]


def test_viewer_looks_and_changes_nothing(api: ApiClient, as_person: Callable[..., ApiClient], bob: User) -> None:
    made = register(api)
    looking = as_person(bob)

    assert looking.get("/webhooks").status_code == 200
    assert looking.get(f"/webhooks/{made['id']}/deliveries").status_code == 200
    for method, path in [("POST", "/webhooks"), ("PATCH", f"/webhooks/{made['id']}"), ("POST", f"/webhooks/{made['id']}/rotate-secret")]:
        assert looking.call(method, path, {}).status_code == 403


@pytest.mark.parametrize("types", [["x"] * 200_000, [{}] * 200_000], ids=["words", "objects"])
def test_too_many_types_are_refused_before_any_is_looked_at(api: ApiClient, types: list[Any]) -> None:
    webhook = register(api)
    body = json.dumps({**BODY, "types": types}).encode()
    for answer in (api.post("/webhooks", body), api.patch(f"/webhooks/{webhook['id']}", json.dumps({"types": types}).encode())):
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["types"]
