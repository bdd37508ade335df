"""Staff suspend and resume tenants."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from keys.models import ApiKey, GatewayKey
from keys.services import tenants
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Membership, Role, Tenant, User
from tests.keys.admin.conftest import messages_of
from tests.support.cast import make_user
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db

LIST = "/staff/tenants/tenant/"


def url_of(tenant: Tenant, page: str = "change") -> str:
    return f"{LIST}{tenant.pk}/{page}/"


def test_confirm_page_tells_what_is_cut_off_and_what_is_not(staff: Client, acme: Tenant) -> None:
    siloed, pooled = make_tier(max_api_keys=2000), make_tier(pool_size=1)
    for tier in (siloed, siloed, pooled):
        buy(acme, tier)

    text = staff.get(url_of(acme, "suspend")).content.decode()

    assert "2 API keys on siloed tiers are cut off" in text
    assert "1 API key on a pooled tier is not cut off" in text
    assert "Replace this pool key" in text


def test_confirm_page_says_how_long_many_keys_take(staff: Client, acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    buy(acme, make_tier())
    assert "one by one" not in staff.get(url_of(acme, "suspend")).content.decode()

    monkeypatch.setattr("keys.selectors.own_and_shared", lambda _tenant: (3000, 0))

    text = staff.get(url_of(acme, "suspend")).content.decode()
    assert "3,000 API keys on siloed tiers are cut off" in text
    assert "about 5 min for all of them" in text


def test_confirm_page_of_a_tenant_without_keys_promises_nothing(staff: Client, acme: Tenant) -> None:
    text = staff.get(url_of(acme, "suspend")).content.decode()

    assert "API Gateway is told nothing" in text
    assert "pooled" not in text


def test_suspended_and_resumed(staff: Client, acme: Tenant) -> None:
    buy(acme, make_tier())
    bring_into_service()
    assert url_of(acme, "suspend") in staff.get(url_of(acme)).content.decode()

    response = staff.post(url_of(acme, "suspend"), {"reason": "Unpaid"}, follow=True)

    assert "Acme was suspended." in messages_of(response)
    assert url_of(acme, "resume") in response.content.decode()
    assert url_of(acme, "suspend") not in response.content.decode()
    assert not GatewayKey.objects.get().enabled
    event = AuditEvent.objects.get(action="tenant.suspended")
    assert (event.actor_label, event.data["reason"]) == ("sam@example.com", "Unpaid")

    response = staff.post(url_of(acme, "resume"), follow=True)

    assert "Acme was resumed." in messages_of(response)
    assert GatewayKey.objects.get().enabled


def test_reason_is_asked_for(staff: Client, acme: Tenant) -> None:
    response = staff.post(url_of(acme, "suspend"), {"reason": " "})

    assert "Give a reason" in response.content.decode()
    acme.refresh_from_db()
    assert acme.suspended_at is None


def test_who_may_only_look_neither_sees_nor_does_it(client: Client, acme: Tenant) -> None:
    person = make_user("look@example.com", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=["view_tenant", "view_membership"]))
    client.force_login(person)

    assert url_of(acme, "suspend") not in client.get(url_of(acme)).content.decode()
    assert client.post(url_of(acme, "suspend"), {"reason": "Unpaid"}).status_code == 403
    acme.refresh_from_db()
    assert acme.suspended_at is None


@pytest.mark.parametrize(("standing", "names"), [("suspended", {"Acme"}), ("active", {"Bakery"}), ("", {"Acme", "Bakery"})])
def test_list_shows_and_filters_the_suspended(staff: Client, acme: Tenant, standing: str, names: set[str]) -> None:
    make_tenant("Bakery")
    tenants.suspend(tenant=acme, reason="Unpaid", actor=SYSTEM)

    response = staff.get(LIST, {"standing": standing} if standing else {})

    assert {each.name for each in response.context["cl"].result_list} == names
    assert ("Suspended" in response.content.decode()) is True


def test_api_keys_of_the_suspended_are_found_as_disabled(staff: Client, acme: Tenant) -> None:
    api_key, other = buy(acme, make_tier()), buy(make_tenant(), make_tier())
    bring_into_service()
    tenants.suspend(tenant=acme, reason="Unpaid", actor=SYSTEM)

    def found(status: str) -> list[ApiKey]:
        return list(staff.get("/staff/keys/apikey/", {"status": status}).context["cl"].result_list)

    assert (found("disabled"), found("ready"), found("preparing")) == ([api_key], [other], [])


def test_enabling_one_key_is_refused_on_the_page(staff: Client, acme: Tenant) -> None:
    api_key = buy(acme, make_tier())
    bring_into_service()
    tenants.suspend(tenant=acme, reason="Unpaid", actor=SYSTEM)

    response = staff.post(f"/staff/keys/apikey/{api_key.pk}/enable/")

    assert "Acme is suspended" in response.content.decode()


def test_name_and_members_are_still_changed_here(staff: Client, acme: Tenant, alice: User) -> None:
    membership = Membership.objects.get()
    fields = {
        "name": "Acme & Sons", "memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 1, "memberships-0-id": membership.pk,
        "memberships-0-tenant": acme.pk, "memberships-0-user": alice.pk, "memberships-0-role": Role.ADMIN,
    }  # fmt: skip

    assert staff.post(url_of(acme), fields).status_code == 302

    acme.refresh_from_db()
    assert acme.name == "Acme & Sons"
    history = staff.get(url_of(acme, "history")).content.decode()
    assert "tenant.changed" in history
