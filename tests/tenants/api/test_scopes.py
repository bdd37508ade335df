"""What scopes and roles open. Each endpoint names a scope for each of its methods."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.views import ApiView
from tenants.models import Membership, Role, Scope, Tenant, User
from tenants.rights import SCOPES_OF_ROLE
from tests.support.api import make_client
from tests.tenants.api.probe import probed

# POST only because of what they take, a secret or very much: they change nothing.
ASKS = {"api/v1/staff/adoptions/<int:pk>/preview", "api/v1/staff/keys/find", "api/v1/staff/tier-plan"}
METHODS = ("get", "post", "put", "patch", "delete")


def endpoints(patterns: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Route and view class of whatever stands under /api/v1/."""
    for each in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from endpoints(each.url_patterns, route)
        elif isinstance(each, URLPattern) and route.startswith("api/v1/"):
            yield route, getattr(each.callback, "view_class", getattr(each.callback, "cls", None))


ENDPOINTS = sorted(endpoints(), key=lambda each: each[0])


def test_there_are_endpoints() -> None:
    assert {"api/v1/tenant", "api/v1/tokens", "api/v1/tokens/<uuid:pk>"} <= {route for route, _view in ENDPOINTS}


@pytest.mark.parametrize(("route", "view"), ENDPOINTS, ids=[route for route, _view in ENDPOINTS])
def test_every_endpoint_names_scopes_and_repeats_answers(route: str, view: Any) -> None:
    assert issubclass(view, ApiView), f"{route} is no ApiView"
    assert not route.endswith("/")
    staff = route.startswith("api/v1/staff/")
    for method in METHODS:
        handler = getattr(view, method, None)
        if handler is None:
            continue
        scope = view.scopes[method.upper()]
        assert isinstance(scope, Scope)
        assert (scope in {Scope.STAFF_READ, Scope.STAFF_WRITE}) == staff
        if method != "get" and route not in ASKS:
            assert not scope.value.endswith(":read"), f"{method} {route} changes something"
        if method == "post":
            assert getattr(handler, "is_idempotent", False), f"POST {route} is not @idempotent"
        assert inspect.getdoc(handler), f"{method} {route} is not described"


def test_view_without_a_scope_cannot_be_written() -> None:
    with pytest.raises(ImproperlyConfigured, match="POST"):

        class Forgotten(ApiView):
            scopes = {"GET": Scope.KEYS_READ}

            def get(self, request: Request) -> Response:
                raise NotImplementedError

            def post(self, request: Request) -> Response:
                raise NotImplementedError


def statuses(client: Any) -> tuple[int, int, int, int]:
    return (
        client.get("/probe").status_code,
        client.post("/probe", {}).status_code,
        client.delete("/probe").status_code,
        client.get("/tokens").status_code,
    )


@probed
@pytest.mark.parametrize("scope", [*Scope.values, ""])
def test_scope_opens_what_it_names_and_nothing_else(alice: User, sam: User, scope: str) -> None:
    if scope.startswith("staff:"):
        assert statuses(make_client(sam, scopes=[scope])) == (403, 403, 403, 403)
        return
    given = [scope] if scope else list(SCOPES_OF_ROLE[Role.OWNER] - {Scope.TENANT_READ, Scope.TENANT_WRITE})
    read, write = (200 if scope == Scope.TENANT_READ else 403), (201 if scope == Scope.TENANT_WRITE else 403)
    # The third asks for a right of staff's beside the scope.
    assert statuses(make_client(alice, scopes=given)) == (read, write, 403, read)


@probed
@pytest.mark.parametrize("role", list(Role))
def test_role_gives_what_it_carries(acme: Tenant, alice: User, role: Role) -> None:
    Membership.objects.filter(user=alice).update(role=role)
    writes = 201 if role in {Role.OWNER, Role.ADMIN} else 403
    assert statuses(make_client(alice)) == (200, writes, 403, 200)


@probed
def test_right_of_staff_is_asked_beside_the_scope(alice: User) -> None:
    api = make_client(alice)
    assert api.delete("/probe").json()["detail"] == "This needs the right tenants.delete_tenant."
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    assert api.delete("/probe").status_code == 204


@probed
def test_staff_without_a_tenant_have_no_organisation(sam: User) -> None:
    assert make_client(sam).get("/probe").status_code == 403


@pytest.mark.django_db
def test_head_is_get_without_a_body(alice: User) -> None:
    answer = make_client(alice, scopes=["tenant:read"]).call("HEAD", "/tenant")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["ETag"]
    assert make_client(alice, scopes=["keys:read"]).call("HEAD", "/tenant").status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "BREW", "patch"])
def test_other_methods_are_405(alice: User, method: str) -> None:
    answer = make_client(alice).call(method, "/tokens")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, POST")
    assert answer.json()["detail"] == "This URL takes GET, HEAD, POST."
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_things_of_others_are_missing(alice: User, charlie: User) -> None:
    """Byte for byte as something that never was, but for the request's id."""
    from tenants.models import Token  # beside its one use

    make_client(charlie)
    api, foreign = make_client(alice), Token.objects.get(user=charlie).pk
    for method in ("GET", "DELETE"):
        theirs = api.call(method, f"/tokens/{foreign}", X_Request_Id="one-and-the-same")
        nobodys = api.call(method, "/tokens/00000000-0000-4000-8000-000000000000", X_Request_Id="one-and-the-same")
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.content == nobodys.content
    assert Token.objects.get(pk=foreign).revoked_at is None
    assert str(foreign) not in str(api.get("/tokens").json())
