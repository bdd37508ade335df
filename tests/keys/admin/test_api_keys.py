import logging
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from keys import values
from keys.models import ApiKey, GatewayKey, Priority
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.keys.admin.conftest import messages_of
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db

LIST = "/staff/keys/apikey/"
FIND = "/staff/keys/apikey/find/"


def url_of(api_key: ApiKey, page: str = "change") -> str:
    return f"/staff/keys/apikey/{api_key.pk}/{page}/"


def credential_of(api_key: ApiKey) -> str:
    return values.decrypt(GatewayKey.objects.get(pk=api_key.gateway_key_id).value_encrypted)


def siloed() -> ApiKey:
    api_key = buy(make_tenant("Acme"), make_tier())
    bring_into_service()
    return ApiKey.objects.get(pk=api_key.pk)


def pooled(name: str = "Shop") -> ApiKey:
    api_key = buy(make_tenant(), make_tier(pool_size=1), name=name)
    bring_into_service()
    return ApiKey.objects.get(pk=api_key.pk)


# --- Acting


def test_disabled_key_is_desired_off_and_audited(staff: Client) -> None:
    api_key = siloed()
    assert "API Gateway refuses calls of Acme" in staff.get(url_of(api_key, "disable")).content.decode()

    response = staff.post(url_of(api_key, "disable"), follow=True)

    key = GatewayKey.objects.get()
    assert (key.enabled, key.priority, key.is_pending) == (False, Priority.REVOKE, True)
    event = AuditEvent.objects.get(action="api_key.disabled")
    assert (event.actor_label, event.tenant) == ("sam@example.com", api_key.tenant)
    assert "was disabled" in messages_of(response)


def test_disabled_key_is_enabled_again(staff: Client) -> None:
    api_key = siloed()
    api_keys.disable(api_key=api_key, actor=SYSTEM)
    page = staff.get(url_of(api_key)).content.decode()
    assert "Enable this key" in page
    assert "Disable this key" not in page

    staff.post(url_of(api_key, "enable"))

    assert GatewayKey.objects.get().enabled
    assert AuditEvent.objects.get(action="api_key.enabled").actor_label == "sam@example.com"


def test_revoked_siloed_key_loses_its_gateway_key(staff: Client) -> None:
    api_key = siloed()
    assert "Its gateway key is deleted" in staff.get(url_of(api_key, "revoke")).content.decode()

    staff.post(url_of(api_key, "revoke"))

    api_key.refresh_from_db()
    assert api_key.revoked_at is not None
    assert GatewayKey.objects.get().ends_at is not None
    assert AuditEvent.objects.get(action="api_key.revoked").data == {"cut_off": True}
    assert "Revoke this key" not in staff.get(url_of(api_key)).content.decode()


def test_revoking_a_pooled_key_says_that_it_cuts_nobody_off(staff: Client) -> None:
    api_key = pooled()

    asked = staff.get(url_of(api_key, "revoke")).content.decode()
    response = staff.post(url_of(api_key, "revoke"), follow=True)

    assert "This cuts nobody off" in asked
    assert "Copies of its credential are answered until the pool key is replaced." in messages_of(response)
    assert GatewayKey.objects.get().ends_at is None
    assert AuditEvent.objects.get(action="api_key.revoked").data == {"cut_off": False}


def test_pooled_key_offers_no_disable_and_says_why(staff: Client) -> None:
    api_key = pooled()

    page = staff.get(url_of(api_key)).content.decode()

    assert "Disable this key" not in page
    assert "It cannot be disabled or rotated on its own" in page
    assert "Replace this pool key" in page


def test_refusal_of_the_service_is_shown(staff: Client) -> None:
    api_key = pooled()

    page = staff.post(url_of(api_key, "disable")).content.decode()

    assert "cannot be turned off and on" in page
    api_key.refresh_from_db()
    assert api_key.disabled_at is None


def test_confirmation_alone_changes_nothing(staff: Client) -> None:
    api_key = siloed()

    for page in ("disable", "enable", "revoke"):
        staff.get(url_of(api_key, page))

    api_key.refresh_from_db()
    assert (api_key.disabled_at, api_key.revoked_at) == (None, None)


# --- Showing


def test_page_shows_credentials_and_history(staff: Client) -> None:
    api_key = siloed()
    old = api_key.gateway_key.last_four
    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    page = staff.get(url_of(api_key)).content.decode()

    assert f"...{old}" in page
    assert "api_key.rotated" in page
    assert "api_key.bought" in page


def test_list_tells_isolation_and_status(staff: Client) -> None:
    pooled()
    api_keys.revoke(api_key=siloed(), actor=SYSTEM)

    page = staff.get(LIST).content.decode()

    for words in ("Pooled", "Siloed", "Ready", "Revoked"):
        assert words in page


@pytest.mark.parametrize("status", ["preparing", "ready", "disabled", "revoked"])
def test_filter_agrees_with_the_status_that_is_shown(staff: Client, status: str) -> None:
    api_keys.disable(api_key=siloed(), actor=SYSTEM)
    api_keys.revoke(api_key=siloed(), actor=SYSTEM)
    siloed()
    buy(make_tenant(), make_tier())

    found = list(staff.get(LIST, {"status": status}).context["cl"].result_list)

    assert [api_key.status(timezone.now()).value for api_key in found] == [status]


@pytest.mark.parametrize("find", ["name", "tenant", "four"])
def test_search_by_name_tenant_and_last_four(staff: Client, find: str) -> None:
    wanted = buy(make_tenant("Bluebird"), make_tier(), name="Orders")
    siloed()
    term = {"name": "order", "tenant": "bluebird", "four": wanted.gateway_key.last_four}[find]

    assert list(staff.get(LIST, {"q": term}).context["cl"].result_list) == [wanted]


# --- Finding by credential


def test_credential_leads_to_its_api_key(staff: Client) -> None:
    api_key = siloed()

    response = staff.post(FIND, {"credential": f"  {credential_of(api_key)}\n"})

    assert response["Location"] == url_of(api_key)


def test_credential_that_was_rotated_away_still_leads_to_its_api_key(staff: Client) -> None:
    api_key = siloed()
    old = credential_of(api_key)
    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    assert staff.post(FIND, {"credential": old})["Location"] == url_of(api_key)


def test_credential_of_several_leads_to_the_gateway_key(staff: Client) -> None:
    api_key = pooled()
    buy(make_tenant(), api_key.tier)

    response = staff.post(FIND, {"credential": credential_of(api_key)})

    assert response["Location"] == f"/staff/keys/gatewaykey/{api_key.gateway_key_id}/change/"


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (values.new_value(), "No gateway key has or had this value."),
        (values.new_value()[:-1], "no credential of ours"),
        ("", "no credential of ours"),
        ("x" * 500, "no credential of ours"),
    ],
    ids=["unknown", "cut short", "empty", "long"],  # the values differ from process to process
)
def test_unknown_credential_is_told_apart_from_a_typo(staff: Client, term: str, words: str) -> None:
    assert words in messages_of(staff.post(FIND, {"credential": term}, follow=True))


def test_credential_lands_in_no_address_and_no_log(staff: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    value = values.new_value()

    response = staff.post(FIND, {"credential": value}, follow=True)

    assert value not in caplog.text
    assert all(value not in url for url, _status in response.redirect_chain)
    assert value not in response.content.decode()
    assert staff.get(FIND).status_code == 405


@pytest.mark.parametrize("rows", [1, 3])
def test_list_takes_the_same_queries_for_any_rows(staff: Client, django_assert_num_queries: DjangoAssertNumQueries, rows: int) -> None:
    for number in range(rows):
        pooled() if number % 2 else siloed()
    staff.get(LIST)

    with django_assert_num_queries(5):
        staff.get(LIST)
