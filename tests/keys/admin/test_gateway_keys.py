from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from keys.models import ApiKey, GatewayKey
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import AuditEvent
from tests.keys.admin.conftest import messages_of
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db

LIST = "/staff/keys/gatewaykey/"


def url_of(gateway_key: GatewayKey, page: str = "change") -> str:
    return f"/staff/keys/gatewaykey/{gateway_key.pk}/{page}/"


def pool_key(tenants: int = 0) -> GatewayKey:
    tier = make_tier(pool_size=1)
    for _ in range(tenants):
        buy(make_tenant(), tier)
    bring_into_service()
    return GatewayKey.objects.get(pool__tier=tier)


def test_replacing_a_pool_key_says_its_effect(staff: Client) -> None:
    key = pool_key(tenants=2)
    api_keys.revoke(api_key=buy(make_tenant(), key.usage_plan.tier), actor=SYSTEM)

    page = staff.get(url_of(key, "replace")).content.decode()

    assert "2 API keys stand on this pool key." in page
    assert "1 former tenant still knows this value." in page
    assert "24 hours" in page


def test_replaced_pool_key_gives_all_a_new_credential(staff: Client) -> None:
    key = pool_key(tenants=2)

    response = staff.post(url_of(key, "replace"), {"grace": 3600}, follow=True)

    key.refresh_from_db()
    new = GatewayKey.objects.get(pool=key.pool, ends_at=None)
    assert key.ends_at is not None
    assert timedelta(minutes=59) < key.ends_at - timezone.now() <= timedelta(hours=1)
    assert set(ApiKey.objects.values_list("gateway_key", flat=True)) == {new.pk}
    event = AuditEvent.objects.get(action="pool.key_replaced")
    assert (event.actor_label, event.data["api_keys"], event.data["grace_seconds"]) == ("sam@example.com", 2, 3600)
    assert f"was replaced by ...{new.last_four}" in messages_of(response)


@pytest.mark.parametrize("grace", ["", "12", "a day"])
def test_grace_that_was_not_offered_is_refused(staff: Client, grace: str) -> None:
    key = pool_key()

    page = staff.post(url_of(key, "replace"), {"grace": grace})

    assert page.context["form"].errors["grace"]
    key.refresh_from_db()
    assert key.ends_at is None


def test_silo_key_cannot_be_replaced(staff: Client) -> None:
    api_key = buy(make_tenant(), make_tier())

    assert "Replace this pool key" not in staff.get(url_of(api_key.gateway_key)).content.decode()
    page = staff.post(url_of(api_key.gateway_key, "replace"), {"grace": 3600}).content.decode()

    assert "a siloed key is rotated" in page
    assert not AuditEvent.objects.filter(action="pool.key_replaced").exists()


def test_page_names_its_api_keys_and_former_holders(staff: Client) -> None:
    tier = make_tier(pool_size=1)
    buy(make_tenant("Acme"), tier, name="Live one")
    for number in range(3):
        api_keys.revoke(api_key=buy(make_tenant(), tier, name=f"Gone {number}"), actor=SYSTEM)

    page = staff.get(url_of(GatewayKey.objects.get())).content.decode()

    assert "3 former tenants still know this value." in page
    assert "Live one" in page
    assert "Acme" in page
    assert "Gone 1" not in page


def test_page_of_a_key_that_is_rotated_away_still_names_its_holder(staff: Client) -> None:
    api_key = buy(make_tenant(), make_tier(), name="Rotated")
    bring_into_service()
    old = api_key.gateway_key
    api_keys.rotate(api_key=api_key, grace=timedelta(hours=1), actor=SYSTEM)

    page = staff.get(url_of(old)).content.decode()

    assert "Rotated" in page
    assert "Gone on" in page


def test_list_shows_load_and_state(staff: Client) -> None:
    key = pool_key(tenants=3)

    assert staff.get(LIST).context["cl"].result_list[0].load == 3
    page = staff.get(LIST).content.decode()
    assert f"...{key.last_four}" in page
    assert "In step" in page


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ("service", {"synced_revision": 1, "in_service_at": timezone.now()}),
        ("pending", {"synced_revision": 0}),
        ("person", {"synced_revision": 0, "permanent": True}),
        ("ending", {"ends_at": timezone.now() + timedelta(days=1)}),
        ("gone", {"removed_at": timezone.now()}),
    ],
)
def test_filter_finds_a_state(staff: Client, state: str, fields: dict[str, object]) -> None:
    wanted, other = pool_key(), pool_key()
    GatewayKey.objects.update(synced_revision=1, in_service_at=None)
    GatewayKey.objects.filter(pk=wanted.pk).update(**fields)

    assert list(staff.get(LIST, {"state": state}).context["cl"].result_list) == [wanted]
    assert other in staff.get(LIST).context["cl"].result_list


def test_search_by_last_four(staff: Client) -> None:
    wanted = pool_key()
    pool_key()

    assert list(staff.get(LIST, {"q": wanted.last_four}).context["cl"].result_list) == [wanted]


@pytest.mark.parametrize("rows", [1, 3])
def test_list_takes_the_same_queries_for_any_rows(staff: Client, django_assert_num_queries: DjangoAssertNumQueries, rows: int) -> None:
    for _ in range(rows):
        pool_key(tenants=2)
    staff.get(LIST)

    with django_assert_num_queries(6):
        staff.get(LIST)
