"""Writes about people and tenants."""

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction

from tenants.audit import Actor, record
from tenants.models import Membership, Role, Tenant, User


class EmailTaken(Exception):
    """Somebody has this address already. Never told to the visitor: the owner of the address gets a mail instead."""


def sign_up(*, email: str, password: str, tenant_name: str, request_id: str = "") -> User:
    """A person with their tenant, of which they are OWNER: all of it or nothing.

    The address is kept in lower case and not verified yet. Raises EmailTaken; of two sign-ups with one address that run at the
    same time the unique address of ``User`` lets one through.
    """
    user = User(email=email.strip().lower())
    user.set_password(password)  # slow on purpose, so before the transaction
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
            tenant = Tenant.objects.create(name=tenant_name)
            Membership.objects.create(user=user, tenant=tenant, role=Role.OWNER)
            actor = Actor(user=user, label=user.email, request_id=request_id)
            record(actor=actor, action="tenant.created", target=tenant, tenant=tenant, data={"name": tenant.name})
    except IntegrityError as error:
        if User.objects.filter(email=user.email).exists():
            raise EmailTaken from error
        raise
    return user


def verify_superusers() -> list[User]:
    """Give superusers that a shell made a verified address, so that they can sign in before any mail can be sent.

    Verification proves to the portal that somebody reads the address; who can run commands needs no such proof.
    """
    people = list(User.objects.filter(is_superuser=True, emailaddress__isnull=True))
    with transaction.atomic():
        for person in people:
            EmailAddress.objects.create(user=person, email=person.email, primary=True, verified=True)
            record(actor=Actor.command("createsuperuser"), action="person.made_superuser", target=person)
    return people
