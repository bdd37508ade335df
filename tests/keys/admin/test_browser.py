"""The staff's pages in real Chromium: no complaint in the console, which a violated content security policy would be."""

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from keys.models import GatewayKey, UsagePlan
from tenants.models import User
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def as_staff(page: Page, live_server: LiveServer, sam: User) -> Page:
    """A browser in which Sam has signed in; addresses are relative to the portal."""
    client = Client()
    client.force_login(sam)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
    page.goto(f"{live_server.url}/staff/")
    return page


def test_staff_change_limits_after_a_look_at_what_it_does(as_staff: Page) -> None:
    tier = make_tier(name="Basic", pool_size=2)
    bring_into_service()
    page = as_staff

    page.get_by_role("link", name="Tiers").click()
    page.get_by_role("link", name="Basic").click()
    page.get_by_label("Rate:").fill("25")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Nothing was changed yet")).to_be_visible()
    expect(page.get_by_role("button", name="Back to the form")).to_be_focused()
    page.get_by_role("button", name="Back to the form").click()
    expect(page.get_by_label("Rate:")).to_have_value("25")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Confirm").click()

    expect(page.get_by_text("The Basic tier was changed.")).to_be_visible()
    tier.refresh_from_db()
    assert tier.throttle_rate == 25
    assert UsagePlan.objects.get().is_pending


def test_staff_replace_a_pool_key(as_staff: Page) -> None:
    tier = make_tier(pool_size=1)
    buy(make_tenant("Acme"), tier)
    bring_into_service()
    page = as_staff

    page.get_by_role("link", name="Gateway keys").click()
    page.locator("#result_list tbody th a").click()
    page.get_by_role("link", name="Replace this pool key").click()
    expect(page.get_by_role("link", name="Cancel")).to_be_focused()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Replace this pool key").click()

    expect(page.get_by_text("was replaced by")).to_be_visible()
    assert GatewayKey.objects.filter(pool__tier=tier, ends_at=None).count() == 1


def test_staff_pages_fit_a_phone(as_staff: Page) -> None:
    tier = make_tier(name="Basic", pool_size=2)
    api_key = buy(make_tenant(), tier)
    page = as_staff
    page.set_viewport_size({"width": 390, "height": 844})
    base = page.url.rstrip("/")
    rows = [f"keys/tier/{tier.pk}", f"keys/gateway/{api_key.gateway_key.gateway_id}", f"keys/apikey/{api_key.pk}"]
    lists = ["", "keys/tier/", "keys/gateway/", "keys/gatewaykey/", "keys/apikey/", "keys/reconcilerun/", "keys/finding/"]

    for path in [*lists, *[f"{row}/change/" for row in rows]]:
        page.goto(f"{base}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_staff_see_all_columns_on_a_laptop(as_staff: Page) -> None:
    for _ in range(3):
        buy(make_tenant(), make_tier(pool_size=2))
    page = as_staff
    page.set_viewport_size({"width": 1440, "height": 900})
    base = page.url.rstrip("/")

    for path in ("tier", "gateway", "gatewaykey", "apikey"):
        page.goto(f"{base}/keys/{path}/")
        results = page.locator("#changelist .results")
        assert results.evaluate("each => each.scrollWidth <= each.clientWidth"), path
