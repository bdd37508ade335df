"""Staff pages about people, tenants and the audit trail."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from tenants.audit import SYSTEM, record
from tenants.models import AuditEvent, Membership, Role, Tenant, User
from tests.support.cast import make_user


@pytest.fixture
def staff(client: Client, sam: User) -> Client:
    """Sam, signed in."""
    client.force_login(sam)
    return client


@pytest.fixture
def helpdesk(client: Client, db: None) -> Client:
    """Staff who may change people and are no superuser."""
    person = make_user("help@example.com", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(content_type__app_label="tenants"))
    client.force_login(person)
    return client


def test_sign_in_goes_through_the_common_page(client: Client, db: None) -> None:
    answer = client.get("/staff/")
    assert answer["Location"] == "/staff/login/?next=/staff/"

    assert client.get(answer["Location"])["Location"] == "/accounts/login/?next=%2Fstaff%2F"
    assert client.post("/staff/login/", {"username": "x", "password": "y"}).status_code == 302


def test_people_who_are_not_staff_stay_outside(client: Client, alice: User) -> None:
    client.force_login(alice)

    assert client.get("/staff/login/").status_code == 403


def test_password_is_changed_on_the_common_page(staff: Client) -> None:
    assert staff.get("/staff/password_change/")["Location"] == "/accounts/password/change/"


@pytest.mark.parametrize("model", ["user", "tenant", "auditevent"])
def test_lists_and_pages_open(staff: Client, alice: User, acme: Tenant, model: str) -> None:
    event = record(actor=SYSTEM, action="tenant.created", target=acme, tenant=acme)
    pk = {"user": alice.pk, "tenant": acme.pk, "auditevent": event.pk}[model]

    assert staff.get(reverse(f"admin:tenants_{model}_changelist"), {"q": "a"}).status_code == 200
    assert staff.get(reverse(f"admin:tenants_{model}_change", args=[pk])).status_code == 200


@pytest.mark.parametrize(("model", "action"), [("user", "add"), ("auditevent", "add")])
def test_people_and_events_are_not_added_by_hand(staff: Client, model: str, action: str) -> None:
    assert staff.get(reverse(f"admin:tenants_{model}_{action}")).status_code == 403


def test_nothing_is_deleted(staff: Client, alice: User, acme: Tenant) -> None:
    event = record(actor=SYSTEM, action="tenant.created", target=acme, tenant=acme)

    for model, pk in [("user", alice.pk), ("tenant", acme.pk), ("auditevent", event.pk)]:
        assert staff.post(reverse(f"admin:tenants_{model}_delete", args=[pk]), {"post": "yes"}).status_code == 403
    assert AuditEvent.objects.filter(pk=event.pk).exists()


def test_audit_trail_is_read_only(staff: Client, acme: Tenant) -> None:
    event = record(actor=SYSTEM, action="tenant.created", target=acme, tenant=acme)

    answer = staff.post(reverse("admin:tenants_auditevent_change", args=[event.pk]), {"action": "x"})

    assert answer.status_code == 403
    assert AuditEvent.objects.get(pk=event.pk).action == "tenant.created"


def test_locking_a_person_out_is_audited(staff: Client, sam: User, alice: User) -> None:
    answer = staff.post(reverse("admin:tenants_user_change", args=[alice.pk]), {"email": "other@example.com"})

    assert answer.status_code == 302
    alice.refresh_from_db()
    assert not alice.is_active
    assert alice.email == "alice@example.com"
    event = AuditEvent.objects.get(action="person.changed")
    assert (event.actor, event.data["now"]) == (sam, {"is_active": False})


def test_staff_do_not_hand_out_rights_unless_superuser(helpdesk: Client, alice: User, sam: User) -> None:
    fields = {"is_active": "on", "is_staff": "on", "is_superuser": "on"}

    assert helpdesk.post(reverse("admin:tenants_user_change", args=[alice.pk]), fields).status_code == 302
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser) == (False, False)
    assert helpdesk.post(reverse("admin:tenants_user_change", args=[sam.pk]), {}).status_code == 403


def membership_fields(rows: list[Membership], **changes: Any) -> dict[str, Any]:
    fields = {"name": "Acme", "memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": len(rows)}
    for number, row in enumerate(rows):
        fields |= {f"memberships-{number}-{name}": getattr(row, name) for name in ("id", "tenant_id", "user_id", "role")}
        fields |= {f"memberships-{number}-user": row.user_id, f"memberships-{number}-tenant": row.tenant_id}
    return fields | changes


def test_changing_members_is_audited(staff: Client, acme: Tenant, alice: User, bob: User) -> None:
    rows = list(Membership.objects.order_by("pk"))

    answer = staff.post(
        reverse("admin:tenants_tenant_change", args=[acme.pk]), membership_fields(rows, **{"memberships-1-role": Role.ADMIN.value})
    )

    assert answer.status_code == 302
    event = AuditEvent.objects.get(action="tenant.changed")
    assert event.tenant == acme
    assert event.data["members"]["before"] == {"alice@example.com": "owner", "bob@example.com": "viewer"}
    assert event.data["members"]["after"] == {"alice@example.com": "owner", "bob@example.com": "admin"}
