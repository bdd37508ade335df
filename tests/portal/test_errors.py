"""Error pages, and servers that are down."""

import sqlite3

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from redis.exceptions import ConnectionError as RedisConnectionError

from portal.reports import NoSecretsFilter
from portal.unavailable import is_unavailable
from portal.urls import handler400, handler403, handler404, handler500  # noqa: F401 - Django looks for them here
from portal.urls import urlpatterns as real_urls
from portal.views.errors import ratelimited
from tenants.models import User
from tenants.ratelimits import TooManyTries


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


def refuses(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("an inner detail")


def database_is_down(request: HttpRequest) -> HttpResponse:
    raise OperationalError("connection to server at db.internal failed: Connection refused")


urlpatterns = [*real_urls, path("breaks/", breaks), path("refuses/", refuses), path("down/", database_is_down)]
broken_views = override_settings(ROOT_URLCONF="tests.portal.test_errors")


@broken_views
def test_500_names_the_request_id(client: Client) -> None:
    client.raise_request_exception = False

    answer = client.get("/breaks/")

    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] in answer.text


@broken_views
def test_403_hides_reasons_that_are_not_for_the_page(client: Client, db: None) -> None:
    answer = client.get("/refuses/")

    assert answer.status_code == 403
    assert "an inner detail" not in answer.text


@broken_views
def test_database_that_is_down_is_a_calm_503(client: Client) -> None:
    answer = client.get("/down/")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "db.internal" not in answer.text


@broken_views
def test_database_that_is_down_under_a_middleware_is_503_too(client: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client.force_login(alice)
    client.raise_request_exception = False

    def down(*args: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("allauth.account.middleware.context.request_context", down)

    assert client.get("/docs/").status_code == 503


def test_404_is_our_page(client: Client, db: None) -> None:
    answer = client.get("/nothing-here/")

    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


def test_400_is_our_page(client: Client) -> None:
    answer = client.get("/docs/", headers={"host": "elsewhere.example.com"})

    assert answer.status_code == 400
    assert "This request cannot be read" in answer.text


def test_forged_form_gets_our_page(alice: User) -> None:
    answer = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": alice.email})

    assert answer.status_code == 403
    assert "This form is too old to send" in answer.text


def sqlite_error(code: int) -> OperationalError:
    cause = sqlite3.OperationalError("text")
    cause.sqlite_errorcode = code
    error = OperationalError("text")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RedisConnectionError("refused"), True),
        (OperationalError("server closed the connection unexpectedly"), True),
        (InterfaceError("connection already closed"), True),
        (sqlite_error(sqlite3.SQLITE_BUSY), True),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), True),
        (sqlite_error(sqlite3.SQLITE_ERROR), False),
        (ProgrammingError("no such column"), False),
        (ConnectionError("some other service"), False),
        (None, False),
    ],
)
def test_unavailable_is_told_from_wrong_code(error: Exception | None, expected: bool) -> None:
    assert is_unavailable(error) is expected


def test_error_reports_hold_no_variables_and_no_form_fields() -> None:
    request = RequestFactory().post("/", {"password": "hunter2"})
    report = NoSecretsFilter()

    assert report.get_post_parameters(request) == {}
    assert list(report.get_traceback_frame_variables(request, None)) == []
    settings = report.get_safe_settings()
    hidden = ["SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "CACHES", "INSECURE_ENCRYPTION_KEY", "EMAIL_URL", "CELERY_BROKER_URL"]
    assert {settings[name] for name in hidden} == {report.cleansed_substitute}


def test_staff_pages_refuse_without_speaking_of_roles(client: Client, alice: User) -> None:
    client.force_login(alice)

    answer = client.get("/staff/", follow=True)

    assert answer.status_code == 403
    assert "those who run this portal" in answer.text
    assert "Your role" not in answer.text


@pytest.mark.parametrize(("seconds", "words"), [(1, "in 1 second."), (59, "in 59 seconds."), (225, "in 4 minutes.")])
def test_429_says_when_to_try_again(rf: RequestFactory, seconds: int, words: str) -> None:
    request = rf.get("/accounts/login/")
    request.user = AnonymousUser()

    answer = ratelimited(request, TooManyTries("sign-in", seconds))

    assert f"Try again {words}" in answer.text
    assert answer["Retry-After"] == str(seconds)
