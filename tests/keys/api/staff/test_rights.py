"""Who may call the staff's endpoints: those with the scope, and with the permission that the page asks for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import URLPattern, get_resolver

from keys.api.staff import urls
from keys.api.staff.base import StaffView
from tenants.models import Scope, Tenant, User
from tests.keys.api.staff.conftest import told
from tests.support.api import API, ApiClient, make_client
from tests.support.cast import PASSWORD, make_member

pytestmark = pytest.mark.django_db


def endpoints() -> Iterator[tuple[str, type[StaffView]]]:
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        path = str(pattern.pattern).replace("<uuid:pk>", str(uuid.UUID(int=1))).replace("<int:pk>", "1")
        yield f"/staff/{path}", pattern.callback.view_class  # type: ignore[attr-defined]


CALLS = [(path, method, view) for path, view in endpoints() for method in sorted(view.scopes)]


def test_there_are_endpoints() -> None:
    assert len(CALLS) >= 40
    assert get_resolver().url_patterns


@pytest.mark.parametrize(("path", "method", "view"), CALLS)
def test_each_method_needs_its_scope(sam: User, path: str, method: str, view: type[StaffView]) -> None:
    other = {Scope.STAFF_READ: Scope.STAFF_WRITE, Scope.STAFF_WRITE: Scope.STAFF_READ}[view.scopes[method]]
    status, slug, detail = told(make_client(sam, scopes=[other]).call(method, path, {}))
    assert (status, slug) == (403, "insufficient-scope")
    assert view.scopes[method].value in detail


@pytest.mark.parametrize(("path", "method", "view"), [call for call in CALLS if not call[2].own])
def test_each_method_needs_its_permission(clerk: Callable[..., ApiClient], path: str, method: str, view: type[StaffView]) -> None:
    assert told(clerk().call(method, path, {})) == (403, "forbidden", f"This needs the right {view.permissions[method]}.")


@pytest.mark.parametrize(("path", "method", "view"), [call for call in CALLS if not call[2].own])
def test_permission_that_is_asked_for_exists_and_fits_the_method(path: str, method: str, view: type[StaffView]) -> None:
    app, _dot, codename = view.permissions[method].partition(".")
    assert Permission.objects.filter(content_type__app_label=app, codename=codename).exists()
    assert codename.startswith("view_") == (view.scopes[method] == Scope.STAFF_READ)


@pytest.mark.parametrize(("path", "method", "view"), CALLS)
def test_tenants_have_no_way_in(alice: User, path: str, method: str, view: type[StaffView]) -> None:
    assert told(make_client(alice).call(method, path, {}))[:2] == (403, "insufficient-scope")


def test_staff_with_a_permission_may_do_just_that(clerk: Callable[..., ApiClient], acme: Tenant) -> None:
    client = clerk("tenants.view_tenant")
    assert client.get("/staff/tenants").status_code == 200
    assert told(client.post(f"/staff/tenants/{acme.pk}/suspend", {"reason": "Unpaid"}))[:2] == (403, "forbidden")
    assert told(client.get("/staff/tiers"))[:2] == (403, "forbidden")


def test_session_of_staff_who_are_members_too_works(acme: Tenant) -> None:
    user = make_member("both@example.com", acme)
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    client = Client()
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})

    tenants: Any = client.get(f"{API}/staff/tenants").json()
    assert [row["name"] for row in tenants["data"]] == ["Acme"]
    # What they make here is theirs as staff, whichever tenant they act for.
    body = {"name": "Night job", "scopes": ["staff:read"]}
    made = client.post(f"{API}/staff/tokens", body, content_type="application/json")
    assert made.status_code == 201, made.content
    assert ApiClient(made.json()["token"]).get("/staff/tenants").status_code == 200
    assert client.get(f"{API}/staff/tokens").json()["data"][0]["name"] == "Night job"
    assert client.get(f"{API}/tokens").json()["data"] == []
