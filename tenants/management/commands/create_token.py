"""Make a token for the REST API with a shell: the first one, before anybody has signed in."""

import uuid
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.audit import Actor
from tenants.clock import database_now
from tenants.current import memberships_of
from tenants.models import Scope, Tenant, Token, User
from tenants.rights import STAFF_SCOPES, scopes_in_tenant
from tenants.services.tokens import LONGEST_LIFE, UnableToMakeToken, make_token

ACTOR = Actor.command("create_token")
LONGEST_NAME = 100
# Which option an input of the service comes from.
OPTIONS = {"name": "--name", "scopes": "--scope", "expires_at": "--days"}


class Command(BaseCommand):
    help = (
        "Make a token for the REST API. Only its secret is written to standard output, once. "
        "Without --tenant it is for the one organisation that the person belongs to; of staff, for the staff's endpoints."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="whose token it is; it never carries more rights than this person has")
        parser.add_argument(
            "--tenant", help="id of the organisation, where the person belongs to several; without it staff get one for staff"
        )
        parser.add_argument("--name", required=True, help="what will use it")
        parser.add_argument("--scope", required=True, action="append", metavar="SCOPE", help=f"one of {', '.join(Scope.values)}; repeat it")
        parser.add_argument("--days", type=int, help="how long it works; without it until it is revoked")

    def handle(self, *args: Any, **options: Any) -> None:
        user = _person(options["email"])
        tenant, within = _place(user, options["tenant"])
        name = options["name"].strip()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise CommandError(f"--name: give 1 to {LONGEST_NAME} visible characters.")
        days = options["days"]
        if days is not None and not 1 <= days <= LONGEST_LIFE.days:
            raise CommandError(f"--days: give 1 to {LONGEST_LIFE.days}.")
        expires_at = None if days is None else database_now() + timedelta(days=days)
        try:
            token, secret = make_token(
                user=user, tenant=tenant, name=name, scopes=options["scope"], expires_at=expires_at, within=within, actor=ACTOR
            )
        except UnableToMakeToken as error:
            raise CommandError(f"{OPTIONS.get(error.field, error.field)}: {error}") from error
        self.stderr.write(_told(token, user, tenant))
        self.stdout.write(secret)


def _person(email: str) -> User:
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        raise CommandError(f"--email: nobody has signed up as {email}.")
    if not user.is_active:
        raise CommandError(f"--email: {email} is locked out, so a token of theirs would not work.")
    return user


def _place(user: User, tenant_id: str | None) -> tuple[Tenant | None, frozenset[Scope]]:
    """The tenant that the token is for, None for staff, and the scopes that the person has there."""
    if tenant_id is None:
        mine = memberships_of(user)
        if not user.is_staff and len(mine) == 1:
            return mine[0].tenant, scopes_in_tenant(mine[0].role)
        if not user.is_staff:
            raise CommandError(f"--tenant: {user.email} is not staff, so say which organisation the token is for. {_listed(user)}")
        return None, STAFF_SCOPES
    try:
        wanted = uuid.UUID(tenant_id)
    except ValueError:
        raise CommandError(f"--tenant: give the organisation's id, not {tenant_id!r}. {_listed(user)}") from None
    membership = next((each for each in memberships_of(user) if each.tenant_id == wanted), None)
    if membership is None:
        raise CommandError(f"--tenant: {user.email} is no member of {wanted}. {_listed(user)}")
    return membership.tenant, scopes_in_tenant(membership.role)


def _listed(user: User) -> str:
    mine = [f"{each.tenant_id} ({each.tenant})" for each in memberships_of(user)]
    return f"They belong to {', '.join(mine)}." if mine else "They belong to none."


def _told(token: Token, user: User, tenant: Tenant | None) -> str:
    where = f"in {tenant}" if tenant else "as staff"
    until = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "until it is revoked"
    return f"{token.name}: for {user.email} {where}, {', '.join(token.scopes)}, {until}. The secret is shown this once; keep it."
