"""Settings: the organisation and its people."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tenants.models import AuditEvent, Role, Tenant, User
from tests.support.cast import make_member

pytestmark = pytest.mark.django_db


def test_every_member_sees_people_with_their_roles(signed_in: Callable[[User], Client], alice: User, bob: User, charlie: User) -> None:
    page = signed_in(bob).get("/settings/").content.decode()

    assert alice.email in page
    assert f"{bob.email} (you)" in page
    assert charlie.email not in page
    assert "/settings/rename/" not in page


def test_owner_renames(as_alice: Client, acme: Tenant) -> None:
    answer = as_alice.post("/settings/rename/", {"name": "Acme & Sons"}, follow=True)

    acme.refresh_from_db()
    assert acme.name == "Acme & Sons"
    assert "The organisation was renamed." in answer.content.decode()
    assert "Renamed from “Acme” to “Acme &amp; Sons”" in answer.content.decode()


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\0b"])
def test_unfit_name_is_refused_with_the_form(as_alice: Client, acme: Tenant, name: str) -> None:
    answer = as_alice.post("/settings/rename/", {"name": name})

    acme.refresh_from_db()
    assert (answer.status_code, acme.name) == (200, "Acme")
    assert "errorlist" in answer.content.decode()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_lower_roles_do_not_rename(signed_in: Callable[[User], Client], acme: Tenant, role: Role) -> None:
    client = signed_in(make_member("erin@example.com", acme, role))

    assert client.post("/settings/rename/", {"name": "Mine"}).status_code == 403
    assert not AuditEvent.objects.filter(action="tenant.renamed").exists()


def test_members_reach_settings_from_every_page_and_staff_their_tokens(signed_in: Callable[[User], Client], alice: User, sam: User) -> None:
    assert 'href="/settings/"' in signed_in(alice).get("/tiers/").content.decode()
    page = signed_in(sam).get("/staff/").content.decode()
    assert 'href="/settings/staff-tokens/"' in page
    assert 'href="/settings/"' not in signed_in(sam).get("/tiers/").content.decode()
