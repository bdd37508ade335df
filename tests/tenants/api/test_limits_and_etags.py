"""How many requests a caller has, and versions of what is shown."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from tenants.models import Tenant, Token, User
from tests.support.api import ApiClient, make_client
from tests.tenants.api.test_authentication import slug

pytestmark = pytest.mark.django_db
TOKEN = {"name": "x", "scopes": ["keys:read"]}


def left(answer: Any) -> dict[str, int]:
    """What is left, by policy."""
    return {name: int(count) for name, count in re.findall(r'"(\w+)";r=(\d+);t=\d+', answer["RateLimit"])}


@pytest.fixture
def still() -> Any:
    """A clock that stands: no window ends during the test."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


def test_headers_count_down_to_429(still: Any, settings: Any, alice: User) -> None:
    settings.API_REQUESTS_PER_MINUTE = 3
    api, other = make_client(alice), make_client(alice)
    answers = [api.get("/tenant") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [left(answer) for answer in answers] == [{"default": 2}, {"default": 1}, {"default": 0}]
    assert answers[0]["RateLimit-Policy"] == '"default";q=3;w=60'

    refused = api.get("/tenant")
    assert (refused.status_code, slug(refused)) == (429, "rate-limited")
    assert left(refused) == {"default": 0}
    assert refused["RateLimit-Policy"] == '"default";q=3;w=60'
    seconds = int(refused["Retry-After"])
    assert 1 <= seconds <= 60
    assert refused["RateLimit"].endswith(f";t={seconds}")
    # Another token of the same person has a window of its own.
    assert other.get("/tenant").status_code == 200

    still.shift(timedelta(seconds=seconds + 1))
    assert api.get("/tenant").status_code == 200


def test_refused_requests_count_and_change_nothing(still: Any, settings: Any, alice: User) -> None:
    settings.API_REQUESTS_PER_MINUTE = 4
    api = make_client(alice, scopes=["tenant:write"])
    assert [api.get("/tenant").status_code, api.call("PUT", "/tenant").status_code, api.get("/tenant?x=1").status_code] == [403, 405, 403]
    assert api.post("/tokens", {"name": "", "scopes": []}).status_code == 400
    assert api.post("/tokens", {"name": "x", "scopes": ["tenant:write"]}).status_code == 429
    assert Token.objects.count() == 1


def test_secrets_have_a_limit_of_their_own(still: Any, settings: Any, api: ApiClient) -> None:
    settings.API_SECRETS_PER_MINUTE = 2
    first = api.post("/tokens", TOKEN)
    assert left(first) == {"default": 1199, "secrets": 1}
    assert first["RateLimit-Policy"] == '"default";q=1200;w=60, "secrets";q=2;w=60'
    api.post("/tokens", TOKEN)
    refused = api.post("/tokens", TOKEN)
    assert refused.status_code == 429
    assert left(refused)["secrets"] == 0
    assert Token.objects.count() == 3
    assert api.get("/tokens").status_code == 200


def test_session_of_a_person_has_one_limit(still: Any, settings: Any, alice: User) -> None:
    settings.API_REQUESTS_PER_MINUTE = 1
    first, second = ApiClient(None), ApiClient(None)
    for each in (first, second):
        each.client.force_login(alice)
    assert first.get("/tenant").status_code == 200
    assert second.get("/tenant").status_code == 429


def test_limits_can_be_off(settings: Any, api: ApiClient) -> None:
    settings.RATELIMIT_ENABLE = False
    assert "RateLimit" not in api.get("/tenant")
    assert api.post("/tokens", TOKEN).status_code == 201


# --- Versions


def test_same_version_is_304(api: ApiClient) -> None:
    first = api.get("/tenant")
    again = api.get("/tenant", If_None_Match=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    for given in ("*", f"W/{first['ETag']}", f'"x", {first["ETag"]}', f'{first["ETag"]},"y"'):
        assert api.get("/tenant", If_None_Match=given).status_code == 304
    for given in ('"x"', first["ETag"].strip('"'), ""):
        assert api.get("/tenant", If_None_Match=given).status_code == 200


def test_version_changes_with_what_is_shown(api: ApiClient) -> None:
    before = api.get("/tenant")["ETag"]
    changed = api.patch("/tenant", {"name": "Renamed"})
    assert changed["ETag"] == api.get("/tenant")["ETag"] != before
    assert api.get("/tenant", If_None_Match=before).status_code == 200
    assert api.patch("/tenant", {"name": "Acme"})["ETag"] == before


def test_change_of_a_stale_version_is_412(api: ApiClient, acme: Tenant) -> None:
    seen = api.get("/tenant")["ETag"]
    assert api.patch("/tenant", {"name": "First"}, If_Match=seen).status_code == 200
    refused = api.patch("/tenant", {"name": "Second"}, If_Match=seen)
    assert (refused.status_code, slug(refused)) == (412, "precondition-failed")
    acme.refresh_from_db()
    assert acme.name == "First"
    assert refused["ETag"] == api.get("/tenant")["ETag"]
    assert api.patch("/tenant", {"name": "Second"}, If_Match=refused["ETag"]).status_code == 200


def test_if_match_compares_strongly(api: ApiClient) -> None:
    seen = api.get("/tenant")["ETag"]
    assert api.patch("/tenant", {"name": "x"}, If_Match=f"W/{seen}").status_code == 412
    assert api.patch("/tenant", {"name": "x"}, If_Match="").status_code == 412
    assert api.patch("/tenant", {}, If_Match=f'"x", {seen}').status_code == 200
    assert api.patch("/tenant", {"name": "x"}, If_Match="*").status_code == 200


def test_wrong_body_is_told_before_the_version(api: ApiClient) -> None:
    assert api.patch("/tenant", {"nam": "x"}, If_Match='"x"').status_code == 400
