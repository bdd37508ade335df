"""Who sends a request: a token in ``Authorization: Bearer``, else a session of the portal.

A request that bears an ``Authorization`` header is judged by that alone, and its cookies are ignored.
"""

import re
import secrets
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django_ratelimit.core import get_usage
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from tenants import secret_values
from tenants.api.caller import Caller
from tenants.api.problems import CHALLENGE, Problem
from tenants.current import SESSION_KEY, choose, memberships_of
from tenants.models import User
from tenants.reauth import did_recently_authenticate
from tenants.rights import scopes_of
from tenants.services.tokens import PREFIX, SHOWN
from tenants.token_lookup import FoundToken, find_token, note_use

# Wrong tokens an address may send in a minute: what is above is refused whatever it bears.
MOST_FAILURES = "60/m"
_BEARER = re.compile(r"bearer +([^\s]+) *", re.IGNORECASE)


class TokenAuthentication(authentication.BaseAuthentication):
    """``Authorization: Bearer tgp...``."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        match = _BEARER.fullmatch(header)
        try:
            if match is None:
                raise _refusal("malformed-token", _("Send the header as `Authorization: Bearer tgp...`."))
            caller = self._caller(match.group(1))
        except Problem:
            _count_failure(request)
            raise
        return caller.user, caller

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE

    def _caller(self, secret: str) -> Caller:
        # Without the right checksum there is no such token, so nobody is asked.
        if not secret_values.has_valid_checksum(PREFIX, secret):
            raise _refusal("malformed-token")
        found = find_token(secret[:SHOWN])
        if found is None or not secrets.compare_digest(found.sha256, secret_values.digest(secret)):
            raise _refusal("unknown-token")
        _check(found)
        note_use(found)
        return Caller(
            user=found.user,
            tenant=found.tenant,
            scopes=found.scopes,
            token_id=found.token_id,
            token_name=found.name,
            token_ends_at=found.expires_at,
        )


class SessionAuthentication(authentication.SessionAuthentication):
    """A session of the portal, so that the docs can try the API. Whatever changes something needs the CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        if request.META.get("HTTP_AUTHORIZATION"):
            return None
        user = getattr(request._request, "user", AnonymousUser())
        if not isinstance(user, User) or not user.is_active:
            return None
        self.enforce_csrf(request)
        return user, _caller_of_session(request._request, user)

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied:
            raise Problem("csrf-failed") from None


def _caller_of_session(request: HttpRequest, user: User) -> Caller:
    membership = choose(memberships_of(user), request.session.get(SESSION_KEY))
    return Caller(
        user=user,
        tenant=membership.tenant if membership else None,
        scopes=scopes_of(user, membership),
        is_recent=did_recently_authenticate(request),
    )


def _check(found: FoundToken) -> None:
    if found.is_revoked:
        raise _refusal("revoked-token", _("The token was revoked."))
    if found.has_expired():
        raise _refusal("expired-token")
    if not found.user.is_active or not found.maker_belongs:
        raise _refusal("revoked-token", _("The person who made this token no longer has access."))


def _refusal(slug: str, detail: str = "") -> Problem:
    error = "" if slug == "not-authenticated" else ', error="invalid_token"'
    return Problem(slug, detail, headers={"WWW-Authenticate": f"{CHALLENGE}{error}"})


def _count_failure(request: Request) -> None:
    """Guessing is hopeless at 256 bits; what this keeps low is what guessing costs us."""
    usage: dict[str, Any] | None = get_usage(request._request, group="api:wrong-token", key="ip", rate=MOST_FAILURES, increment=True)
    if usage is not None and usage["should_limit"]:
        seconds = max(1, usage["time_left"])
        raise Problem("rate-limited", _("Too many wrong tokens from this address."), headers={"Retry-After": str(seconds)})
