"""The tenant of a request."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from pytest_django import DjangoAssertNumQueries

from portal.urls import handler403, handler404  # noqa: F401 - Django looks for them here
from portal.urls import urlpatterns as real_urls
from tenants.current import TenantRequest, tenant_required
from tenants.models import Membership, Role, Tenant, User

pytestmark = pytest.mark.urls("tests.tenants.test_current")


@tenant_required()
def look(request: TenantRequest) -> HttpResponse:
    return HttpResponse(f"{request.tenant.name}, {request.membership.role}")


@tenant_required(role=Role.MEMBER)
def work(request: TenantRequest, number: int) -> HttpResponse:
    return HttpResponse(f"{request.tenant.name} {number}")


def bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user.is_authenticated))


urlpatterns = [*real_urls, path("look/", look), path("desk/<int:number>/", work), path("bare/", bare)]


def test_anonymous_people_sign_in_and_come_back(client: Client, db: None) -> None:
    answer = client.get("/look/?q=1")

    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=%2Flook%2F%3Fq%3D1"


def test_anonymous_post_comes_back_to_the_page_before(client: Client, db: None) -> None:
    answer = client.post("/desk/3/", headers={"Referer": "http://testserver/look/?q=1"})

    assert answer["Location"] == "/accounts/login/?next=%2Flook%2F%3Fq%3D1"


@pytest.mark.parametrize("referer", ["https://elsewhere.example.com/look/", "javascript:alert(1)", "//elsewhere.example.com/", ""])
def test_anonymous_post_from_elsewhere_comes_back_to_the_first_page(client: Client, db: None, referer: str) -> None:
    answer = client.post("/desk/3/", headers={"Referer": referer})

    assert answer["Location"] == "/accounts/login/?next=%2Fkeys%2F"


def test_anonymous_fragment_takes_the_whole_page_along(client: Client, db: None) -> None:
    answer = client.get("/look/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/keys/?page=2"})

    assert answer.status_code == 200
    assert answer["HX-Redirect"] == "/accounts/login/?next=%2Fkeys%2F%3Fpage%3D2"


def test_member_gets_the_tenant_with_one_query(client: Client, alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    client.force_login(alice)
    with django_assert_num_queries(2):  # the session and the person
        client.get("/bare/")

    with django_assert_num_queries(3):
        answer = client.get("/look/")

    assert answer.text == "Acme, owner"


def test_role_that_is_too_low_is_refused_with_a_reason(client: Client, bob: User) -> None:
    client.force_login(bob)

    assert client.get("/look/").text == "Acme, viewer"
    answer = client.post("/desk/3/")
    assert answer.status_code == 403
    assert "needs the role Member in Acme; yours is Viewer" in answer.text


@pytest.mark.parametrize(("role", "status"), [("owner", 200), ("admin", 200), ("member", 200), ("viewer", 403)])
def test_each_role_includes_those_below(client: Client, alice: User, role: str, status: int) -> None:
    Membership.objects.update(role=role)
    client.force_login(alice)

    assert client.get("/desk/3/").status_code == status


def test_person_without_tenant_is_refused_with_a_way_on(client: Client, acme: Tenant, alice: User) -> None:
    Membership.objects.all().delete()
    client.force_login(alice)

    answer = client.get("/look/")

    assert answer.status_code == 403
    assert "belongs to no organisation" in answer.text


def test_staff_without_tenant_are_pointed_to_their_pages(client: Client, sam: User) -> None:
    client.force_login(sam)

    answer = client.get("/look/")

    assert answer.status_code == 403
    assert 'href="/staff/"' in answer.text


def test_person_who_is_locked_out_is_anonymous_at_once(client: Client, alice: User) -> None:
    client.force_login(alice)
    User.objects.update(is_active=False)

    assert client.get("/look/").status_code == 302


@pytest.fixture
def both(alice: User, outsiders: Tenant) -> Membership:
    """Alice belongs to Outsiders as well, since later."""
    membership = Membership.objects.create(user=alice, tenant=outsiders, role=Role.VIEWER)
    Membership.objects.filter(pk=membership.pk).update(created_at=membership.created_at + timedelta(hours=1))
    return membership


def test_first_membership_counts_until_another_is_chosen(client: Client, alice: User, both: Membership) -> None:
    client.force_login(alice)
    assert client.get("/look/").text == "Acme, owner"

    answer = client.post("/organisations/", {"tenant": str(both.tenant_id)})

    assert answer["Location"] == "/keys/"
    assert client.get("/look/").text == "Outsiders, viewer"
    assert client.get("/desk/3/").status_code == 403


def test_choice_ends_with_the_membership(client: Client, alice: User, both: Membership) -> None:
    client.force_login(alice)
    client.post("/organisations/", {"tenant": str(both.tenant_id)})
    both.delete()

    assert client.get("/look/").text == "Acme, owner"


def test_switch_page_lists_own_tenants_alone(client: Client, alice: User, both: Membership) -> None:
    Tenant.objects.create(name="Strangers")
    client.force_login(alice)

    answer = client.get("/organisations/")

    assert answer.status_code == 200
    assert "Acme" in answer.text
    assert "Open Outsiders" in answer.text
    assert "Strangers" not in answer.text


@pytest.mark.parametrize("choice", ["outsiders", "unknown", "nonsense", ""])
def test_tenant_of_others_cannot_be_told_from_a_missing_one(client: Client, alice: User, outsiders: Tenant, choice: str) -> None:
    client.force_login(alice)
    values: dict[str, Any] = {"outsiders": outsiders.pk, "unknown": uuid.uuid4()}

    assert client.post("/organisations/", {"tenant": values.get(choice, choice)}).status_code == 404
    assert client.get("/look/").text == "Acme, owner"


@override_settings(ROOT_URLCONF="portal.urls")
def test_switch_needs_a_membership(client: Client, sam: User) -> None:
    client.force_login(sam)

    assert client.get("/organisations/").status_code == 403
