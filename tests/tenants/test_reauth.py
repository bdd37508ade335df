"""Asking who it is once more."""

import re
import time
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from portal.urls import handler403, handler404  # noqa: F401 - Django looks for them here
from portal.urls import urlpatterns as real_urls
from tenants.models import User
from tenants.reauth import reauthentication_required
from tests.support.cast import PASSWORD

pytestmark = pytest.mark.urls("tests.tenants.test_reauth")


@reauthentication_required
def secret(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the secret")


urlpatterns = [*real_urls, path("secret/", secret)]


@pytest.fixture
def signed_in(client: Client, alice: User) -> Client:
    """Alice, with her password, a moment ago."""
    client.post("/accounts/login/", {"login": alice.email, "password": PASSWORD})
    assert "_auth_user_id" in client.session
    return client


@pytest.fixture
def later() -> Any:
    """Six minutes from now."""
    with time_machine.travel(time.time() + 360) as moment:
        yield moment


def test_secret_is_shown_shortly_after_signing_in(signed_in: Client) -> None:
    assert signed_in.post("/secret/").text == "the secret"


def test_secret_is_shown_to_somebody_who_has_just_signed_up(client: Client, db: None, mailoutbox: list[Any]) -> None:
    fields = {"email": "dana@example.com", "password1": "a-long-enough-one", "tenant_name": "Corner Shop"}
    client.post("/accounts/signup/", fields)
    link = re.search(r"http://testserver(/accounts/confirm-email/\S+)", mailoutbox[0].body)
    assert link
    client.post(link.group(1))

    assert client.post("/secret/").text == "the secret"


def test_secret_asks_for_the_password_later(signed_in: Client, later: Any) -> None:
    answer = signed_in.post("/secret/", headers={"Referer": "http://testserver/docs/"})

    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/reauthenticate/?next=%2Fdocs%2F"


def test_password_leads_back_to_the_page_and_opens_the_secret(signed_in: Client, later: Any) -> None:
    answer = signed_in.post("/accounts/reauthenticate/?next=/docs/", {"password": PASSWORD, "next": "/docs/"})

    assert answer["Location"] == "/docs/"
    assert signed_in.post("/secret/").text == "the secret"


def test_wrong_password_does_not_open_the_secret(signed_in: Client, later: Any) -> None:
    signed_in.post("/accounts/reauthenticate/", {"password": "wrong"})

    assert signed_in.post("/secret/").status_code == 302


def test_get_comes_back_to_itself(signed_in: Client, later: Any) -> None:
    assert signed_in.get("/secret/?a=1")["Location"] == "/accounts/reauthenticate/?next=%2Fsecret%2F%3Fa%3D1"


def test_script_gets_401_with_the_url(signed_in: Client, later: Any) -> None:
    answer = signed_in.post("/secret/", headers={"Accept": "application/json", "Referer": "http://testserver/docs/"})

    assert answer.status_code == 401
    assert answer.json() == {"reauthenticate": "/accounts/reauthenticate/?next=%2Fdocs%2F"}


def test_fragment_gets_a_redirect_of_the_whole_page(signed_in: Client, later: Any) -> None:
    answer = signed_in.post("/secret/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/docs/"})

    assert answer["HX-Redirect"] == "/accounts/reauthenticate/?next=%2Fdocs%2F"


def test_session_without_proof_is_asked(client: Client, alice: User) -> None:
    client.force_login(alice)

    assert client.post("/secret/").status_code == 302


def test_anonymous_people_are_not_let_through(client: Client, db: None) -> None:
    assert client.post("/secret/").status_code == 302


def test_proof_of_another_person_does_not_count(signed_in: Client, charlie: User) -> None:
    signed_in.force_login(charlie)

    assert signed_in.post("/secret/").status_code == 302
    assert EmailAddress.objects.filter(user=charlie).exists()
