"""The tenant that a request acts for."""

import functools
import uuid
from collections.abc import Callable
from typing import Concatenate, ParamSpec, cast

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django_htmx.middleware import HtmxDetails

from tenants.models import Membership, Role, Tenant, User
from tenants.returning import detour

SESSION_KEY = "tenant_id"

P = ParamSpec("P")


class TenantRequest(HttpRequest):
    """What a view behind ``tenant_required`` gets. ``memberships``: all of the person, in the order they joined."""

    user: User
    tenant: Tenant
    membership: Membership
    memberships: list[Membership]
    htmx: HtmxDetails


class Refused(PermissionDenied):
    """403 with a reason that is fit for the page."""


def memberships_of(user: User) -> list[Membership]:
    """The person's memberships with their tenants, the oldest first. One query."""
    return list(Membership.objects.filter(user=user).select_related("tenant").order_by("created_at", "pk"))


def choose(memberships: list[Membership], chosen: object) -> Membership | None:
    """The membership whose tenant was chosen in this session, else the first; None for people without a tenant."""
    return next((each for each in memberships if str(each.tenant_id) == chosen), memberships[0] if memberships else None)


def switch_tenant(request: HttpRequest, tenant_id: uuid.UUID) -> Membership | None:
    """Act for another tenant from now on, in this session. None where the person is no member of it."""
    user = cast("User", request.user)
    membership = next((each for each in memberships_of(user) if each.tenant_id == tenant_id), None)
    if membership is not None:
        request.session[SESSION_KEY] = str(membership.tenant_id)
    return membership


def tenant_required(
    *, role: Role = Role.VIEWER
) -> Callable[[Callable[Concatenate[TenantRequest, P], HttpResponseBase]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """For views of a tenant. Anonymous people sign in first; without a membership, or with too low a role: 403.

    Sets ``request.tenant``, ``request.membership`` and ``request.memberships`` with one query.
    """

    def decorate(
        view: Callable[Concatenate[TenantRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @functools.wraps(view)
        def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not isinstance(request.user, User):
                return detour(request, settings.LOGIN_URL)
            return view(_enter(request, request.user, role), *args, **kwargs)

        return wrapped

    return decorate


def _enter(request: HttpRequest, user: User, role: Role) -> TenantRequest:
    memberships = memberships_of(user)
    membership = choose(memberships, request.session.get(SESSION_KEY))
    if membership is None:
        raise Refused(_no_tenant_text(user))
    if not membership.may(role):
        raise Refused(
            _("This needs the role %(needed)s in %(tenant)s; yours is %(own)s. An owner or admin can change it.")
            % {"needed": role.label, "tenant": membership.tenant.name, "own": membership.get_role_display()}
        )
    entered = cast("TenantRequest", request)
    entered.memberships, entered.membership, entered.tenant = memberships, membership, membership.tenant
    return entered


def _no_tenant_text(user: User) -> str:
    if user.is_staff:
        return _("Your account belongs to no organisation: it is for running the portal. The staff pages are at /staff/.")
    return _("Your account belongs to no organisation. Ask an owner of yours to add you.")


class StaffRequest(HttpRequest):
    """What a view behind ``staff_required`` gets."""

    user: User


def staff_required(
    view: Callable[Concatenate[StaffRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """For views of those who run the portal. Anonymous people sign in first; others get 403."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return detour(request, settings.LOGIN_URL)
        if not request.user.is_staff:
            raise Refused(_("This page is for those who run the portal."))
        return view(cast("StaffRequest", request), *args, **kwargs)

    return wrapped
