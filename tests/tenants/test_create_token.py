"""The first token, made with a shell."""

from __future__ import annotations

import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenants.models import AuditEvent, Membership, Role, Tenant, Token, User
from tests.support.api import ApiClient

pytestmark = pytest.mark.django_db


def create(*options: str, email: str = "alice@example.com", name: str = "CI") -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_token", "--email", email, "--name", name, *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_secret_alone_is_on_stdout_and_works(alice: User, acme: Tenant) -> None:
    out, err = create("--tenant", str(acme.pk), "--scope", "tenant:read", "--scope", "keys:read")

    secret = out.removesuffix("\n")
    assert secret.startswith("tgp")
    assert secret not in err
    assert "shown this once" in err
    assert "until it is revoked" in err
    answer = ApiClient(secret).get("/tenant")
    assert (answer.status_code, answer.json()["name"]) == (200, "Acme")
    token = Token.objects.get()
    assert (token.scopes, token.expires_at, token.name) == (["keys:read", "tenant:read"], None, "CI")
    event = AuditEvent.objects.get(action="token.made")
    assert (event.actor_label, event.tenant) == ("manage.py create_token", acme)


def test_staff_without_a_tenant_get_a_token_of_staff(sam: User) -> None:
    out, err = create("--scope", "staff:read", "--days", "30", email="Sam@Example.com")

    assert ApiClient(out.strip()).get("/staff/gateways").status_code == 200
    token = Token.objects.get()
    assert token.tenant is None
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert "as staff" in err


@pytest.mark.parametrize(
    ("options", "given", "said"),
    [
        (["--scope", "keys:read", "--tenant", "acme"], {}, "--tenant: give the organisation's id, not 'acme'"),
        (["--scope", "keys:read", "--tenant", str(uuid.uuid4())], {}, "--tenant: alice@example.com is no member of"),
        (["--scope", "keys:all", "--tenant", "ACME"], {}, "--scope: No such scope: keys:all"),
        (["--scope", "staff:read", "--tenant", "ACME"], {}, "--scope: A token is either for an organisation or for staff"),
        (["--scope", "keys:read", "--tenant", "ACME", "--days", "0"], {}, "--days: give 1 to 1098"),
        (["--scope", "keys:read", "--tenant", "ACME", "--days", "9999999999"], {}, "--days: give 1 to 1098"),
        (["--scope", "keys:read", "--tenant", "ACME"], {"name": " "}, "--name: give 1 to 100"),
        (["--scope", "keys:read", "--tenant", "ACME"], {"name": "x" * 101}, "--name: give 1 to 100"),
        (["--scope", "keys:read"], {"email": "nobody@example.com"}, "--email: nobody has signed up as nobody@example.com"),
        (["--scope", "keys:write", "--tenant", "ACME"], {"email": "bob@example.com"}, "--scope: .* lacks keys:write"),
    ],
)
def test_refusals_name_the_option(alice: User, bob: User, acme: Tenant, options: list[str], given: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        create(*(str(acme.pk) if option == "ACME" else option for option in options), **given)
    assert Token.objects.count() == 0


def test_somebody_locked_out_gets_none(sam: User) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="locked out"):
        create("--scope", "staff:read", email="sam@example.com")


def test_whoever_belongs_to_one_organisation_need_not_name_it(alice: User, acme: Tenant) -> None:
    call_command("create_token", "--email", alice.email, "--name", "CI", "--scope", "keys:read", stdout=StringIO(), stderr=StringIO())

    assert Token.objects.get().tenant == acme


def test_whoever_belongs_to_several_has_to_name_one(alice: User, acme: Tenant, outsiders: Tenant) -> None:
    Membership.objects.create(user=alice, tenant=outsiders, role=Role.VIEWER)

    with pytest.raises(CommandError, match=r"--tenant: alice@example.com is not staff.*They belong to .* \(Acme\)"):
        call_command("create_token", "--email", alice.email, "--name", "CI", "--scope", "keys:read")
