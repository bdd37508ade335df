"""Errors: always a problem document, never HTML, never a trace; and the id that a request goes by."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tenants.api.problems import KINDS, document
from tenants.models import Token, User
from tests.portal.test_logging import lines  # noqa: F401 - a fixture
from tests.support.api import ApiClient, make_client, token_for
from tests.support.services import free_port
from tests.support.web import web_process
from tests.tenants.api.probe import PASSWORD_OF_NOBODY, probed
from tests.tenants.api.test_authentication import slug

Lines = Callable[[], list[dict[str, Any]]]
ID = str(uuid.UUID(int=7))  # no fresh one: every process has to collect the same tests


def assert_problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, slug(answer)) == (status, kind)
    assert answer["Content-Type"] == "application/problem+json"
    assert body["type"] == f"http://localhost:8000/docs/errors/{kind}/"
    assert body["status"] == status
    assert body["title"] == str(KINDS[kind].title)
    assert body["detail"]
    assert body["request_id"] == answer["X-Request-Id"]
    assert set(body) <= {"type", "title", "status", "detail", "request_id", "errors"}
    assert answer["Cache-Control"] == "no-store, private"
    for trace in ("Traceback", ".py", PASSWORD_OF_NOBODY, "db.internal", "cache.internal", "<html"):
        assert trace not in answer.content.decode()
    return body


def case(method: str, path: str, body: Any, status: int, kind: str, **headers: str) -> Any:
    return pytest.param(method, path, body, headers, status, kind, id=f"{method} {path} {kind}")


@pytest.mark.django_db
@probed
@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "kind"),
    [
        case("POST", "/probe", b"{", 400, "malformed-body"),
        case("POST", "/tokens", {}, 400, "invalid-fields"),
        case("GET", "/tokens?limit=0", None, 400, "invalid-fields"),
        case("GET", "/tenant", None, 401, "not-authenticated", Authorization=""),
        case("GET", "/tenant", None, 401, "malformed-token", Authorization="Bearer x"),
        case("DELETE", "/probe", None, 403, "forbidden"),
        case("GET", f"/tokens/{ID}", None, 404, "not-found"),
        case("PUT", "/tokens", {}, 405, "method-not-allowed"),
        case("POST", "/probe", {"do": "refuse"}, 409, "refused"),
        case("PATCH", "/tenant", {"name": "x"}, 412, "precondition-failed", If_Match='"x"'),
        case("POST", "/probe", b"x" * 2**21, 413, "body-too-large"),
        case("POST", "/probe", b"a=1", 415, "unsupported-media-type", Content_Type="application/x-www-form-urlencoded"),
        case("POST", "/probe", {"do": "break"}, 500, "server-error"),
        case("POST", "/probe", {"do": "break"}, 500, "server-error", Idempotency_Key="a"),
        case("POST", "/probe", {"do": "database"}, 503, "unavailable"),
        case("POST", "/probe", {"do": "database"}, 503, "unavailable", Idempotency_Key="a"),
        case("POST", "/probe", {"do": "cache"}, 503, "unavailable"),
        case("POST", "/probe", {"do": "cache"}, 503, "unavailable", Idempotency_Key="a"),
        # Where no endpoint is
        case("GET", "/", None, 404, "not-found"),
        case("GET", "/nothing", None, 404, "not-found"),
        case("POST", "/tenant/", {}, 404, "not-found"),
        case("GET", "/tokens/5", None, 404, "not-found"),
        case("GET", "/tokens/%00", None, 404, "not-found"),
        case("GET", "/tokens/%ff%fe", None, 404, "not-found"),
        case("GET", "/../../etc/passwd", None, 404, "not-found"),
        case("GET", "/tenant", None, 400, "bad-request", Host="elsewhere.example.com"),
    ],
)
def test_whatever_goes_wrong_is_a_problem(
    api: ApiClient, method: str, path: str, body: Any, headers: dict[str, str], status: int, kind: str
) -> None:
    api.client.raise_request_exception = False
    answer = api.call(method, path, body, **headers)
    shown = assert_problem(answer, status, kind)
    if status == 401:
        assert answer["WWW-Authenticate"].startswith("Bearer ")
    if status == 503:
        assert int(answer["Retry-After"]) > 0
    if kind == "invalid-fields":
        assert shown["errors"]


@pytest.mark.django_db
@probed
def test_field_of_a_services_refusal_is_named(api: ApiClient) -> None:
    assert api.post("/probe", {"do": "refuse"}).json()["errors"] == [{"field": "name", "detail": "The tier is closed."}]


@pytest.mark.django_db
def test_insufficient_scope_and_other_ends_of_tokens(alice: User) -> None:
    assert_problem(make_client(alice, scopes=["keys:read"]).get("/tenant"), 403, "insufficient-scope")
    ended = make_client(alice)
    Token.objects.update(revoked_at=timezone.now())
    assert_problem(ended.get("/tenant"), 401, "revoked-token")


def test_catalogue_is_complete_and_consistent() -> None:
    for name, kind in KINDS.items():
        assert (kind.slug, 400 <= kind.status < 600) == (name, True)
        assert document(name)["detail"] == str(kind.meaning)
        assert all(str(text).strip() for text in (kind.title, kind.meaning, kind.remedy))


@pytest.mark.django_db
def test_pages_of_people_stay_pages(client: Client) -> None:
    assert "text/html" in client.get("/api/v2/nothing")["Content-Type"]
    assert "text/html" in client.get("/nothing/")["Content-Type"]


@pytest.mark.django_db
def test_cache_that_is_down_is_503_and_changes_nothing(api: ApiClient, settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{free_port()}/0",
            "OPTIONS": {"socket_connect_timeout": 1},
        }
    }
    assert_problem(api.post("/tokens", {"name": "x", "scopes": ["keys:read"]}, Idempotency_Key="a"), 503, "unavailable")
    assert Token.objects.count() == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_database_that_is_down_is_503(alice: User, tmp_path: Path) -> None:
    secret = token_for(alice)
    with web_process(tmp_path, DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/nothing") as web:
        for given in ({"secret": secret}, {"Cookie": "session=" + "a" * 32}):
            answer = web.call("GET", "/api/v1/tenant", **given)
            assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
            assert answer.json()["type"].endswith("/unavailable/")
            assert int(answer.headers["retry-after"]) > 0
            assert b"127.0.0.1" not in answer.body
        # What needs no database is answered as ever.
        assert web.call("GET", "/api/v1/tenant", secret="tgpabc").status == 401
        assert web.call("GET", "/api/v1/nothing").status == 404
        assert secret not in web.log.read_text()


class TestRequestId:
    pytestmark = pytest.mark.django_db

    def test_given_one_is_kept(self, api: ApiClient) -> None:
        assert api.get("/tenant", X_Request_Id="deploy-2026.11_21")["X-Request-Id"] == "deploy-2026.11_21"
        assert api.get("/nothing", X_Request_Id="deploy-2026.11_21").json()["request_id"] == "deploy-2026.11_21"

    @pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space in it", "<script>alert(1)", "a\tbcdefgh", "é" * 10])
    def test_strange_one_is_replaced(self, api: ApiClient, given: str) -> None:
        assert uuid.UUID(api.get("/tenant", X_Request_Id=given)["X-Request-Id"])

    def test_each_request_has_another(self, api: ApiClient) -> None:
        assert api.get("/tenant")["X-Request-Id"] != api.get("/tenant")["X-Request-Id"]

    def test_audit_trail_bears_it(self, api: ApiClient) -> None:
        api.patch("/tenant", {"name": "Other"}, X_Request_Id="deploy-2026.11_21")
        event = api.get("/audit-events?action=tenant.renamed").json()["data"][0]
        assert event["request_id"] == "deploy-2026.11_21"
        assert event["actor"] == "alice@example.com (CI)"


@pytest.mark.django_db
@probed
def test_every_line_of_the_log_bears_id_and_caller_and_never_the_token(alice: User, lines: Lines) -> None:  # noqa: F811
    secret = token_for(alice)
    api = ApiClient(secret)
    api.client.raise_request_exception = False
    token = Token.objects.get()

    made = api.post("/tokens", {"name": "x", "scopes": ["keys:read"]}, X_Request_Id="id-of-the-first", Idempotency_Key="k-1").json()[
        "token"
    ]
    api.post("/probe", {"do": "break"}, X_Request_Id="id-of-the-second", Idempotency_Key="k-2")
    api.get(f"/tenant?token={secret}", X_Request_Id="id-of-the-third")
    ApiClient(secret[:-1] + "!").get("/tenant", X_Request_Id="id-of-the-fourth")

    written = lines()
    requests = {line["request_id"]: line for line in written if line["event"] == "request"}
    assert [requests[f"id-of-the-{number}"]["status"] for number in ("first", "second", "third", "fourth")] == [201, 500, 400, 401]
    assert all(requests[f"id-of-the-{number}"]["caller"] == f"t-{token.pk}" for number in ("first", "second", "third"))
    assert "caller" not in requests["id-of-the-fourth"]
    failure = next(line for line in written if line["event"] == "api.failed")
    assert failure["request_id"] == "id-of-the-second"
    text = json.dumps(written)
    for hidden in (secret, secret[:-1], made, secret[11:40]):
        assert hidden not in text


@pytest.mark.django_db
def test_session_is_named_as_a_person(alice: User, lines: Lines) -> None:  # noqa: F811
    browser = Client()
    browser.force_login(alice)
    browser.get("/api/v1/tenant")
    assert next(line for line in lines() if line["event"] == "request")["caller"] == f"p-{alice.pk}"
