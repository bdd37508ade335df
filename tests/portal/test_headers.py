"""Headers of every answer."""

import pytest
from django.test import Client

from tenants.models import User


def test_public_page_has_strict_headers(client: Client, db: None) -> None:
    headers = client.get("/docs/").headers

    assert "default-src 'self'" in headers["Content-Security-Policy"].split("; ")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "camera=()" in headers["Permissions-Policy"]


def test_public_page_without_session_may_be_kept(client: Client, db: None) -> None:
    assert "no-store" not in client.get("/docs/").headers.get("Cache-Control", "")


@pytest.mark.parametrize("url", ["/docs/", "/", "/nothing-here/"])
def test_pages_of_signed_in_people_are_not_stored(client: Client, alice: User, url: str) -> None:
    client.force_login(alice)

    assert "no-store" in client.get(url).headers["Cache-Control"]


@pytest.mark.parametrize("url", ["/accounts/login/", "/accounts/confirm-email/some-key/", "/staff/", "/_mail/", "/healthz"])
def test_pages_with_secrets_are_not_stored(client: Client, db: None, url: str) -> None:
    assert "no-store" in client.get(url).headers["Cache-Control"]


def test_error_pages_have_the_headers_too(client: Client, db: None) -> None:
    headers = client.get("/nothing-here/").headers

    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Request-Id"]
