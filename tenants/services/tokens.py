"""Making and ending tokens."""

import uuid
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from tenants import secret_values
from tenants.audit import Actor, record
from tenants.clock import database_now
from tenants.models import Scope, Tenant, Token, User
from tenants.rights import STAFF_SCOPES, TENANT_SCOPES

PREFIX = "tgp"
# How many of a token's first characters are kept in clear: the prefix and 48 bits, by which it is found and recognised.
SHOWN = len(PREFIX) + 8
MOST_TOKENS = 100
LONGEST_LIFE = timedelta(days=3 * 366)


class UnableToMakeToken(Exception):
    """A token that was refused. ``field``: what has to be mended; the message is fit for the page."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TokenAlreadyMade(UnableToMakeToken):
    """The token with the id that was given exists: a form was sent twice. Its secret was shown then."""

    def __init__(self) -> None:
        super().__init__("", _("This form was sent before: its token was made then, and its secret was shown then."))


def make_token(
    *,
    user: User,
    tenant: Tenant | None,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None,
    within: Collection[str],
    actor: Actor,
    token_id: uuid.UUID | None = None,
    until: datetime | None = None,
) -> tuple[Token, str]:
    """A token of ``user`` in ``tenant`` (None: for staff), and its secret, which is never to be had again.

    ``within``: the scopes of whoever makes it, which it cannot exceed. ``token_id``: the same one given twice makes one token, and
    raises TokenAlreadyMade the second time. ``until``: when the token that makes this one ends, which it cannot outlive: one that leaked
    for an hour must not leave another behind that works for ever. Raises UnableToMakeToken.
    """
    chosen = _checked_scopes(tenant, scopes, within)
    now = database_now()  # which is what they are judged by when they are used
    if expires_at is not None and not now < expires_at <= now + LONGEST_LIFE:
        raise UnableToMakeToken("expires_at", _("Choose a moment that is to come, at most three years ahead."))
    if until is not None and (expires_at is None or expires_at > until):
        message = _("The token that you use ends at %(moment)s. One that it makes has to end by then.")
        raise UnableToMakeToken("expires_at", message % {"moment": f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"})
    secret = secret_values.new_secret(PREFIX)
    token_id = token_id or uuid.uuid4()
    with transaction.atomic():
        if tenant is not None:
            Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.pk)
        if Token.objects.filter(pk=token_id).exists():
            raise TokenAlreadyMade
        if Token.objects.usable(now).filter(tenant=tenant, **({} if tenant else {"user": user})).count() >= MOST_TOKENS:
            raise UnableToMakeToken("name", _("There are %(count)d tokens, which is the most. Revoke one first.") % {"count": MOST_TOKENS})
        token = _created(
            id=token_id,
            tenant=tenant,
            user=user,
            name=name,
            prefix=secret[:SHOWN],
            sha256=secret_values.digest(secret),
            scopes=sorted(chosen),
            created_at=now,
            expires_at=expires_at,
        )
        record(actor=actor, action="token.made", target=token, tenant=tenant, data={"scopes": token.scopes, "expires_at": expires_at})
    return token, secret


def revoke_token(*, token: Token, actor: Actor) -> Token:
    """End a token for ever. Nothing happens to one that is revoked."""
    with transaction.atomic():
        token = Token.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=token.pk)
        if token.revoked_at is None:
            token.revoked_at = database_now()
            token.save(update_fields=["revoked_at"])
            record(actor=actor, action="token.revoked", target=token, tenant=token.tenant)
    return token


def _created(**values: Any) -> Token:
    """Race: for staff no row is locked, so the same form sent twice at once is told apart by the primary key."""
    try:
        with transaction.atomic():
            return Token.objects.create(**values)
    except IntegrityError:
        if Token.objects.filter(pk=values["id"]).exists():
            raise TokenAlreadyMade from None
        raise


def _checked_scopes(tenant: Tenant | None, scopes: Collection[str], within: Collection[str]) -> set[Scope]:
    unknown = sorted(set(scopes).difference(Scope.values))
    if unknown:
        raise UnableToMakeToken("scopes", _("No such scope: %(scopes)s.") % {"scopes": ", ".join(unknown)})
    if not scopes:
        raise UnableToMakeToken("scopes", _("Choose at least one scope."))
    chosen = {Scope(scope) for scope in scopes}
    possible = TENANT_SCOPES if tenant is not None else STAFF_SCOPES
    if not chosen <= possible:
        raise UnableToMakeToken("scopes", _("A token is either for an organisation or for staff; make two."))
    beyond = sorted(chosen.difference(within))
    if beyond:
        raise UnableToMakeToken("scopes", _("A token cannot do more than its maker, who lacks %(scopes)s.") % {"scopes": ", ".join(beyond)})
    return chosen
