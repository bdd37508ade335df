"""Signing up: a person with their tenant, at once or not at all."""

import threading
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connections
from django.test import Client

from tenants.models import AuditEvent, Membership, Role, Tenant, User
from tenants.services import people
from tests.support.cast import PASSWORD

FIELDS = {"tenant_name": "  Corner \n Shop ", "email": "New@Example.COM", "password1": "correct-horse-battery"}


def link_in(text: str) -> str:
    """The path of the link in a mail."""
    (url,) = [word for word in text.split() if word.startswith("http")]
    return url.removeprefix("http://testserver")


def test_sign_up_makes_person_and_tenant(client: Client, db: None) -> None:
    answer = client.post("/accounts/signup/", FIELDS)

    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/confirm-email/"
    person = User.objects.get()
    assert person.email == "new@example.com"
    assert person.check_password("correct-horse-battery")
    assert not person.is_staff
    address = EmailAddress.objects.get()
    assert (address.email, address.primary, address.verified) == ("new@example.com", True, False)
    membership = Membership.objects.get()
    assert (membership.user, membership.role, membership.tenant.name) == (person, Role.OWNER, "Corner Shop")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.tenant) == ("tenant.created", person, membership.tenant)
    assert event.request_id == answer["X-Request-Id"]


def test_person_signs_in_after_confirming_the_address(client: Client, db: None) -> None:
    client.post("/accounts/signup/", FIELDS)
    assert client.get("/keys/").status_code == 302

    path = link_in(mail.outbox[0].body)
    assert client.get(path).status_code == 200
    answer = client.post(path)

    assert answer["Location"] == "/keys/"
    assert client.get("/keys/").status_code == 200


def test_link_of_another_browser_confirms_without_signing_in(client: Client, db: None) -> None:
    client.post("/accounts/signup/", FIELDS)
    elsewhere = Client()

    elsewhere.post(link_in(mail.outbox[0].body))

    assert EmailAddress.objects.get().verified
    assert "_auth_user_id" not in elsewhere.session


def test_person_without_confirmed_address_cannot_sign_in(client: Client, db: None) -> None:
    client.post("/accounts/signup/", FIELDS)
    elsewhere = Client()

    answer = elsewhere.post("/accounts/login/", {"login": "new@example.com", "password": "correct-horse-battery"})

    assert answer["Location"] == "/accounts/confirm-email/"
    assert "_auth_user_id" not in elsewhere.session


def test_known_address_is_not_told_apart(client: Client, alice: User) -> None:
    known = client.post("/accounts/signup/", {**FIELDS, "email": "ALICE@example.com"})
    unknown = Client().post("/accounts/signup/", FIELDS)

    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert [message.to for message in mail.outbox] == [["alice@example.com"], ["new@example.com"]]
    assert "already" in mail.outbox[0].body
    assert Tenant.objects.filter(name="Corner Shop").count() == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tenant_name": "   "}, "tenant_name"),
        ({"tenant_name": "x" * 101}, "tenant_name"),
        ({"email": "no address"}, "email"),
        ({"password1": "short"}, "password1"),
        ({"password1": "1234567890"}, "password1"),
        ({"password1": "new@example.com"}, "password1"),
    ],
)
def test_form_explains_what_is_wrong(client: Client, db: None, changes: dict[str, str], field: str) -> None:
    answer = client.post("/accounts/signup/", {**FIELDS, **changes})

    assert answer.status_code == 200
    assert list(answer.context["form"].errors) == [field]
    assert User.objects.count() == 0


def test_form_asks_for_organisation_address_and_one_password(client: Client, db: None) -> None:
    form = client.get("/accounts/signup/").context["form"]

    assert list(form.fields) == ["tenant_name", "email", "password1"]


def test_sign_up_leaves_nothing_when_a_part_fails(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**kwargs: object) -> None:
        raise RuntimeError("the last step fails")

    monkeypatch.setattr(people, "record", fails)

    with pytest.raises(RuntimeError):
        people.sign_up(email="new@example.com", password="correct-horse-battery", tenant_name="Shop")

    assert (User.objects.count(), Tenant.objects.count(), EmailAddress.objects.count()) == (0, 0, 0)


def test_sign_up_refuses_an_address_that_is_taken(alice: User) -> None:
    with pytest.raises(people.EmailTaken):
        people.sign_up(email=" Alice@example.com", password="correct-horse-battery", tenant_name="Shop")

    assert User.objects.count() == 1


def test_loser_of_a_race_gets_the_usual_answer(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form finds the address free; before it writes, somebody else signs up with it."""
    sign_up = people.sign_up

    def too_late(**kwargs: Any) -> User:
        sign_up(**{**kwargs, "tenant_name": "Quicker"})
        return sign_up(**kwargs)

    monkeypatch.setattr(people, "sign_up", too_late)

    answer = client.post("/accounts/signup/", FIELDS)

    assert answer["Location"] == "/accounts/confirm-email/"
    assert [tenant.name for tenant in Tenant.objects.all()] == ["Quicker"]
    assert "already" in mail.outbox[0].body


@pytest.mark.django_db(transaction=True)
def test_sign_ups_at_the_same_time_make_one_person() -> None:
    barrier = threading.Barrier(4)
    outcomes: list[str] = []

    def sign_up(number: int) -> None:
        barrier.wait()
        try:
            people.sign_up(email="new@example.com", password="correct-horse-battery", tenant_name=f"Shop {number}")
            outcomes.append("made")
        except people.EmailTaken:
            outcomes.append("taken")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sign_up, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["made", "taken", "taken", "taken"]
    assert (User.objects.count(), Tenant.objects.count(), Membership.objects.count()) == (1, 1, 1)


def test_sign_in_that_fails_is_told_in_our_words(client: Client, alice: User) -> None:
    answer = client.post("/accounts/login/", {"login": alice.email, "password": "not-the-password"})

    assert "No account has this address and this password." in answer.text


def test_staff_without_a_tenant_go_to_their_pages(client: Client, sam: User) -> None:
    answer = client.post("/accounts/login/", {"login": sam.email, "password": PASSWORD})
    assert answer["Location"] == "/staff/"
    assert client.get("/accounts/login/")["Location"] == "/staff/"

    refused = client.get("/keys/")
    assert refused.status_code == 403
    assert "Open the staff pages" in refused.text
    assert "Open your keys" not in refused.text


def test_staff_of_a_tenant_go_to_its_keys_and_where_they_wanted_to_go(client: Client, sam: User, acme: Tenant) -> None:
    answer = Client().post("/accounts/login/", {"login": sam.email, "password": PASSWORD, "next": "/tiers/"})
    assert answer["Location"] == "/tiers/"
    Membership.objects.create(user=sam, tenant=acme, role=Role.VIEWER)
    assert client.post("/accounts/login/", {"login": sam.email, "password": PASSWORD})["Location"] == "/keys/"


def test_sign_up_sends_who_is_signed_in_to_the_keys(client: Client, alice: User) -> None:
    client.force_login(alice)

    assert client.get("/accounts/signup/")["Location"] == client.get("/accounts/login/")["Location"] == "/keys/"
