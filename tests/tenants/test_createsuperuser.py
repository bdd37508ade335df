"""The way in for staff while no mail can be sent."""

import pytest
from allauth.account.models import EmailAddress
from django.core.management import call_command
from django.test import Client

from tenants.models import AuditEvent, User


def test_superuser_of_the_shell_signs_in_at_once(client: Client, monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct-horse-battery")

    call_command("createsuperuser", interactive=False, email="Root@Example.com", verbosity=0)

    client.post("/accounts/login/", {"login": "root@example.com", "password": "correct-horse-battery"})
    assert client.get("/staff/").status_code == 200
    assert EmailAddress.objects.get().verified
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_label) == ("person.made_superuser", "manage.py createsuperuser")


def test_other_people_stay_unverified(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    EmailAddress.objects.update(verified=False)
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct-horse-battery")

    call_command("createsuperuser", interactive=False, email="root@example.com", verbosity=0)

    assert not EmailAddress.objects.get(user=alice).verified
