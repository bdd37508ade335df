"""``Idempotency-Key``: the same request sent twice is carried out once, and answered twice alike."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from tenants.models import AuditEvent, IdempotentAnswer, Tenant, Token, User
from tenants.services.housekeeping import ANSWERS_KEPT, CHUNK, forget_old_answers
from tests.support.api import ApiClient, make_client
from tests.tenants.api.probe import probed
from tests.tenants.api.test_authentication import slug

pytestmark = [pytest.mark.django_db, probed, pytest.mark.flow]  # "flow": on both databases
TOKEN = {"name": "x", "scopes": ["keys:read"]}
KEPT = ("Location", "ETag", "Retry-After", "Content-Type", "Allow", "Cache-Control")


def made() -> int:
    """How often the probe was carried out."""
    return Tenant.objects.filter(name__startswith="Made by a probe").count()


def assert_repeats(first: Any, again: Any) -> None:
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert {name: again.get(name) for name in KEPT} == {name: first.get(name) for name in KEPT}
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"


def test_repeat_gets_the_first_answer_byte_for_byte(api: ApiClient) -> None:
    first = api.post("/tokens", TOKEN, Idempotency_Key="a")
    events = AuditEvent.objects.count()
    assert first.status_code == 201
    assert first["Location"] == f"/api/v1/tokens/{first.json()['id']}"
    for _ in range(3):
        assert_repeats(first, api.post("/tokens", TOKEN, Idempotency_Key="a"))
    assert Token.objects.filter(name="x").count() == 1
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("value", ["é 日本 🎉", 'quote " and \\', 1.5, 2**63, -0.0, 1e300, None, [], {"a": {"b": [1, "2"]}}, "\0"])
def test_any_json_comes_back_as_it_was(api: ApiClient, value: Any) -> None:
    first = api.post("/probe", {"value": value}, Idempotency_Key="a")
    assert_repeats(first, api.post("/probe", {"value": value}, Idempotency_Key="a"))


def test_order_and_spaces_do_not_make_another_body(api: ApiClient) -> None:
    first = api.post("/probe", b'{"a": 1, "b": [2]}', Idempotency_Key="a")
    assert_repeats(first, api.post("/probe", b'{"b":[2],"a":1}', Idempotency_Key="a"))


def test_without_a_key_each_is_its_own(api: ApiClient) -> None:
    assert api.post("/probe", {}).content != api.post("/probe", {}).content
    assert made() == 2
    assert not IdempotentAnswer.objects.exists()


@pytest.mark.parametrize(("path", "body"), [("/probe", {"a": 2}), ("/probe", {}), ("/other-probe", {"a": 1}), ("/tokens", TOKEN)])
def test_other_request_under_the_same_key_is_422(api: ApiClient, path: str, body: Any) -> None:
    api.post("/probe", {"a": 1}, Idempotency_Key="a")
    answer = api.post(path, body, Idempotency_Key="a")
    assert (answer.status_code, slug(answer)) == (422, "idempotency-key-reused")
    assert made() == 1
    # The first one's answer stays.
    assert api.post("/probe", {"a": 1}, Idempotency_Key="a").status_code == 201


def test_tenants_do_not_meet_in_a_key(alice: User, charlie: User) -> None:
    mine = make_client(alice).post("/tokens", TOKEN, Idempotency_Key="1")
    theirs = make_client(charlie).post("/tokens", TOKEN, Idempotency_Key="1")
    assert mine.status_code == theirs.status_code == 201
    assert mine.json()["id"] != theirs.json()["id"]
    assert "Idempotent-Replayed" not in theirs


def test_token_with_fewer_scopes_cannot_fetch_a_secret_by_guessing_keys(alice: User, sam: User) -> None:
    wide, narrow = make_client(alice), make_client(alice, scopes=["tenant:write"])
    secret = wide.post("/tokens", {"name": "x", "scopes": ["keys:reveal"]}, Idempotency_Key="1").json()["token"]
    answer = narrow.post("/tokens", {"name": "x", "scopes": ["keys:reveal"]}, Idempotency_Key="1")
    assert answer.status_code == 422
    assert secret not in answer.content.decode()


@pytest.mark.parametrize(("body", "status"), [({"do": "refuse"}, 409), ({"do": "break"}, 500)])
def test_failure_after_work_began_is_repeated(api: ApiClient, body: Any, status: int) -> None:
    api.client.raise_request_exception = False
    first = api.post("/probe", body, Idempotency_Key="a")
    assert first.status_code == status
    assert_repeats(first, api.post("/probe", body, Idempotency_Key="a"))


@pytest.mark.parametrize("do", ["400", "401", "403", "404", "429"])
def test_refusal_before_work_leaves_the_key_free(api: ApiClient, do: str) -> None:
    first = api.post("/probe", {"do": do}, Idempotency_Key="a")
    again = api.post("/probe", {"do": do}, Idempotency_Key="a")
    assert first.status_code == again.status_code == int(do)
    assert "Idempotent-Replayed" not in again
    assert not IdempotentAnswer.objects.exists()
    assert api.post("/probe", {"mended": True}, Idempotency_Key="a").status_code == 201


def test_mended_request_may_keep_its_key(api: ApiClient) -> None:
    assert api.post("/tokens", {"name": "x"}, Idempotency_Key="a").status_code == 400
    assert api.post("/tokens", b"{", Idempotency_Key="a").status_code == 400
    assert api.post("/tokens", TOKEN, Idempotency_Key="a").status_code == 201


def test_refused_callers_use_up_no_key(alice: User) -> None:
    key = {"Idempotency_Key": "a"}
    assert make_client(alice, scopes=["keys:read"]).post("/probe", {}, **key).status_code == 403
    assert ApiClient("tgpabc").post("/probe", {}, **key).status_code == 401
    assert make_client(alice).post("/probe", {}, **key).status_code == 201


@pytest.mark.parametrize("do", ["refuse", "break", "database", "cache"])
def test_failure_after_writing_leaves_nothing(api: ApiClient, do: str) -> None:
    """The probe writes a row before it fails. Without a key too? There each service has its own transaction."""
    api.client.raise_request_exception = False
    api.post("/probe", {"do": do}, Idempotency_Key="a")
    assert made() == 0


@pytest.mark.parametrize("do", ["database", "cache"])
def test_server_that_is_down_leaves_the_key_free(api: ApiClient, do: str) -> None:
    api.client.raise_request_exception = False
    assert api.post("/probe", {"do": do}, Idempotency_Key="a").status_code == 503
    assert not IdempotentAnswer.objects.exists()


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a\tb", "a\x7fb", "\x80"])
def test_strange_keys_are_refused_by_name(api: ApiClient, key: str) -> None:
    answer = api.post("/probe", {}, Idempotency_Key=key)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert made() == 0


@pytest.mark.parametrize("key", ["a", "x" * 255, '"8e03978e-40d5-43e8-bc93-6894a57f9324"', "a b", "é", "';--", "%s"])
def test_other_keys_work(api: ApiClient, key: str) -> None:
    assert_repeats(api.post("/probe", {}, Idempotency_Key=key), api.post("/probe", {}, Idempotency_Key=key))


def test_stored_answer_cannot_be_read_in_the_table(api: ApiClient) -> None:
    answer = api.post("/tokens", TOKEN, Idempotency_Key="a")
    row = IdempotentAnswer.objects.values().get()
    for hidden in (answer.json()["token"], answer.json()["token"][11:], "keys:read", "Bearer"):
        assert hidden not in json.dumps(row, default=str)
    assert row["status"] == 201


def test_answer_survives_a_change_of_the_encryption_key(api: ApiClient, settings: Any) -> None:
    first = api.post("/tokens", TOKEN, Idempotency_Key="a")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    assert_repeats(first, api.post("/tokens", TOKEN, Idempotency_Key="a"))
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    lost = api.post("/tokens", TOKEN, Idempotency_Key="a")
    assert lost.status_code == 409
    assert Token.objects.filter(name="x").count() == 1


def test_answers_are_kept_for_72_hours(api: ApiClient) -> None:
    first = api.post("/probe", {}, Idempotency_Key="a")
    assert timedelta(hours=72) == ANSWERS_KEPT
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=71, minutes=59))
    assert forget_old_answers() == 0
    assert_repeats(first, api.post("/probe", {}, Idempotency_Key="a"))

    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=72, seconds=1))
    assert forget_old_answers() == 1
    assert api.post("/probe", {}, Idempotency_Key="a").content != first.content


def test_sweep_forgets_a_backlog(db: None) -> None:
    from keys.sync.sweep import sweep  # beside its one use

    old = timezone.now() - timedelta(hours=73)
    rows = [IdempotentAnswer(caller="tenant:x", key=str(number), created_at=old) for number in range(CHUNK + 5)]
    IdempotentAnswer.objects.bulk_create([*rows, IdempotentAnswer(caller="tenant:x", key="new")])
    for _ in range(2):
        sweep()
    assert list(IdempotentAnswer.objects.values_list("key", flat=True)) == ["new"]
