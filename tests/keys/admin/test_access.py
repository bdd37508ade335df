import pytest
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from keys import values
from keys.models import ApiKey, Finding, Gateway, GatewayKey, ReconcileRun, Tier
from tenants.models import User
from tests.support.cast import make_user
from tests.support.factories import buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db

MODELS = [ApiKey, Finding, Gateway, GatewayKey, ReconcileRun, Tier]
VERBS = {
    ApiKey: ["disable", "enable", "revoke"],
    Gateway: ["compare", "reconcile", "try-again"],
    GatewayKey: ["replace"],
    Tier: ["retire", "reopen"],
}


def change_url(row: Model) -> str:
    return reverse(f"admin:keys_{row._meta.model_name}_change", args=[row.pk])


@pytest.fixture
def rows() -> dict[type[Model], Model]:
    api_key = buy(make_tenant(), make_tier(pool_size=1))
    gateway = Gateway.objects.get()
    run = ReconcileRun.objects.create(gateway=gateway)
    finding = Finding.objects.create(run=run, gateway=gateway, kind="extra", subject="gateway key", detail="d", action="a")
    found = [api_key, api_key.gateway_key, api_key.tier, gateway, run, finding]
    return {type(row): row for row in found}


def pages(rows: dict[type[Model], Model]) -> list[str]:
    """Every page about keys that the staff site has, but those that add."""
    lists = [reverse(f"admin:keys_{model._meta.model_name}_changelist") for model in MODELS]
    changes = [change_url(row) for row in rows.values()]
    histories = [url.replace("/change/", "/history/") for url in changes]
    verbs = [change_url(rows[model]).replace("/change/", f"/{slug}/") for model, slugs in VERBS.items() for slug in slugs]
    return [*lists, *changes, *histories, *verbs]


def test_staff_see_every_page(client: Client, sam: User, rows: dict[type[Model], Model]) -> None:
    client.force_login(sam)
    adds = [reverse("admin:keys_tier_add"), reverse("admin:keys_gateway_add")]

    assert {url: client.get(url).status_code for url in [*pages(rows), *adds]} == dict.fromkeys([*pages(rows), *adds], 200)


def test_anonymous_is_asked_to_sign_in(client: Client, rows: dict[type[Model], Model]) -> None:
    for url in pages(rows):
        assert client.get(url).status_code == 302
        assert client.post(url).status_code == 302


def test_owner_sees_no_page_and_acts_on_nothing(client: Client, alice: User, rows: dict[type[Model], Model]) -> None:
    client.force_login(alice)

    for url in pages(rows):
        assert client.get(url).status_code in {302, 403}
        assert client.post(url).status_code in {302, 403}
    assert not ApiKey.objects.filter(revoked_at__isnull=False).exists()
    assert not Tier.objects.filter(retired_at__isnull=False).exists()


def test_staff_who_may_only_look_cannot_act(client: Client, rows: dict[type[Model], Model]) -> None:
    viewer = make_user("viewer@example.com", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(viewer)
    verbs = [change_url(rows[model]).replace("/change/", f"/{slug}/") for model, slugs in VERBS.items() for slug in slugs]

    for url in verbs:
        assert client.get(url).status_code == 403
        assert client.post(url).status_code == 403
    page = client.get(change_url(rows[ApiKey])).content.decode()
    assert "Revoke this key" not in page


def test_staff_without_rights_see_nothing_of_keys(client: Client, rows: dict[type[Model], Model]) -> None:
    client.force_login(make_user("new@example.com", is_staff=True))

    assert {client.get(url).status_code for url in pages(rows)} == {403}
    assert client.post(reverse("admin:keys_apikey_find"), {"credential": "x"}).status_code == 403
    assert "All gateways" not in client.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_nothing_can_be_deleted(client: Client, sam: User, rows: dict[type[Model], Model], model: type[Model]) -> None:
    client.force_login(sam)
    url = change_url(rows[model]).replace("/change/", "/delete/")

    assert client.post(url, {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=rows[model].pk).exists()
    assert "delete_selected" not in client.get(reverse(f"admin:keys_{model._meta.model_name}_changelist")).content.decode()


@pytest.mark.parametrize("model", [ApiKey, GatewayKey, ReconcileRun, Finding])
def test_rows_that_are_looked_at_cannot_be_written(client: Client, sam: User, rows: dict[type[Model], Model], model: type[Model]) -> None:
    client.force_login(sam)

    assert client.post(change_url(rows[model]), {"name": "other"}).status_code == 403
    assert client.get(f"/staff/keys/{model._meta.model_name}/add/").status_code == 403


def test_no_page_shows_a_value(client: Client, sam: User, rows: dict[type[Model], Model]) -> None:
    client.force_login(sam)
    secrets = [values.decrypt(key.value_encrypted) for key in GatewayKey.objects.all()]
    hidden = [*secrets, *GatewayKey.objects.values_list("value_encrypted", flat=True)]

    for url in pages(rows):
        page = client.get(url).content.decode()
        assert not any(secret in page for secret in hidden)


def test_missing_row_leads_back_with_a_message(client: Client, sam: User) -> None:
    client.force_login(sam)

    response = client.get("/staff/keys/tier/3f0e2f8e-0000-4000-8000-000000000000/retire/", follow=True)

    assert "There is no tier with the id" in response.content.decode()
