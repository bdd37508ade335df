"""The fixed cast. Alice owns the tenant Acme, Bob may look at it, Charlie owns Outsiders and must never see Acme, Sam is staff."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress

from tenants.models import Membership, Role, Tenant, User

PASSWORD = "correct-horse-battery"


def make_user(email: str, *, verified: bool = True, **fields: Any) -> User:
    """A person who can sign in with PASSWORD."""
    user = User.objects.create_user(email, PASSWORD, **fields)
    EmailAddress.objects.create(user=user, email=user.email, verified=verified, primary=True)
    return user


def make_member(email: str, tenant: Tenant, role: Role = Role.OWNER) -> User:
    """A person with a role in a tenant."""
    user = make_user(email)
    Membership.objects.create(user=user, tenant=tenant, role=role)
    return user


@pytest.fixture
def acme(db: None) -> Tenant:
    """The tenant of most tests."""
    return Tenant.objects.create(name="Acme")


@pytest.fixture
def outsiders(db: None) -> Tenant:
    """Another tenant."""
    return Tenant.objects.create(name="Outsiders")


@pytest.fixture
def alice(acme: Tenant) -> User:
    """Owner of Acme."""
    return make_member("alice@example.com", acme)


@pytest.fixture
def bob(acme: Tenant) -> User:
    """Viewer of Acme."""
    return make_member("bob@example.com", acme, Role.VIEWER)


@pytest.fixture
def charlie(outsiders: Tenant) -> User:
    """Owner of Outsiders: must never see anything of Acme."""
    return make_member("charlie@example.com", outsiders)


@pytest.fixture
def sam(db: None) -> User:
    """Staff with every right, member of no tenant."""
    return make_user("sam@example.com", is_staff=True, is_superuser=True)
