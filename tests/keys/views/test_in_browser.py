"""What only a browser can show: focus, keys, live regions, and what the console says of each answer."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from keys import values
from keys.models import ApiKey, GatewayKey, UsagePlan
from tenants.models import Tenant
from tests.support.browser import ConsoleErrors
from tests.support.factories import bring_into_service, buy, make_stage, make_tier
from tests.support.sandbox import SandboxProcess

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

Open = Callable[[str], Page]


@pytest.fixture
def test_key(acme: Tenant, sandbox: SandboxProcess) -> ApiKey:
    """A key with a quota of 20 a day that the sandbox answers."""
    stage = make_stage(invoke_url=sandbox.invoke_url(""))
    api_key = buy(acme, make_tier(stage=stage, slug="test", name="Test", quota_limit=20), name="First steps")
    provision(sandbox)
    return api_key


def provision(sandbox: SandboxProcess) -> None:
    """Let the sandbox hold what the rows want, as the workers would."""
    client = sandbox.client()
    plans = {}
    for plan in UsagePlan.objects.select_related("tier"):
        tier = plan.tier
        plans[plan.pk] = client.create_usage_plan(
            name=plan.remote_name,
            throttle={"rateLimit": float(tier.throttle_rate), "burstLimit": tier.throttle_burst},
            quota={"limit": tier.quota_limit, "period": tier.quota_period},
            apiStages=[{"apiId": "groceries", "stage": "v1"}],
        )["id"]
    for key in GatewayKey.objects.all():
        made = client.create_api_key(name=key.pk.hex, value=values.decrypt(key.value_encrypted), enabled=True)
        client.create_usage_plan_key(usagePlanId=plans[key.usage_plan_id], keyId=made["id"], keyType="API_KEY")
    bring_into_service()


@pytest.fixture
def open_page(context: BrowserContext, page: Page, live_server: LiveServer, client_of_alice: Client) -> Open:
    """Opens a path as Alice."""
    cookie = client_of_alice.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])

    def open_path(path: str) -> Page:
        page.goto(live_server.url + path)
        return page

    return open_path


def said(page: Page, text: str) -> None:
    expect(page.locator("#explanation")).to_contain_text(text)


def test_console_sends_one_and_a_burst_by_keyboard_alone(open_page: Open, test_key: ApiKey, console_errors: ConsoleErrors) -> None:
    console_errors.allow("status of 429")
    page = open_page(reverse("keys:console"))
    page.locator("#key").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send one request")).to_be_focused()
    page.keyboard.press("Enter")
    said(page, "The call took one token.")
    expect(page.locator("#response")).to_contain_text("apples")

    page.keyboard.press("Tab")
    expect(page.get_by_label("Requests")).to_be_focused()
    page.keyboard.press("Enter")
    said(page, "There it is: your first 429")
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.get_by_role("button", name="Send burst")).to_be_focused()
    said(page, "requests in")
    said(page, "A new token drops in every 100 ms")
    expect(page.locator("#response")).to_contain_text("TooManyRequestsException")


def test_console_burst_is_stopped_by_escape(open_page: Open, test_key: ApiKey, console_errors: ConsoleErrors) -> None:
    console_errors.allow("status of 429")
    page = open_page(reverse("keys:console"))
    page.get_by_label("Requests").fill("500")
    page.get_by_label("A second").fill("5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Escape")
    said(page, "Stopped")
    said(page, "of 500 requests were sent")
    expect(page.get_by_role("button", name="Send burst")).to_be_focused()


def test_console_says_when_the_quota_begins_again(
    open_page: Open, test_key: ApiKey, sandbox: SandboxProcess, console_errors: ConsoleErrors
) -> None:
    console_errors.allow("status of 429")
    value = values.decrypt(test_key.gateway_key.value_encrypted)
    answered = 0
    while answered < 20:  # the bucket refills ten times a second: this takes about two
        answered += sandbox.invoke(value).status == 200
    page = open_page(reverse("keys:console"))
    page.get_by_role("button", name="Send one request").click()
    said(page, "The quota is used up")
    said(page, "All 20 requests of this day are spent.")
    expect(page.locator("#explanation")).to_contain_text(re.compile(r"The next day begins in .* \(00:00 UTC\)"))


def test_console_says_what_to_check_when_the_key_is_refused(open_page: Open, test_key: ApiKey, console_errors: ConsoleErrors) -> None:
    console_errors.allow("status of 403")
    page = open_page(reverse("keys:console"))
    page.get_by_text("Call with another credential").click()
    page.get_by_label("Credential").fill("not-a-key")
    page.get_by_role("button", name="Send one request").click()
    said(page, "The gateway refused the key")
    said(page, "Is the key ready and enabled?")


def test_console_says_what_to_check_when_no_answer_comes(open_page: Open, acme: Tenant, console_errors: ConsoleErrors) -> None:
    console_errors.allow("ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT")
    buy(acme, make_tier(stage=make_stage(invoke_url="http://127.0.0.1:9/v1")))
    page = open_page(reverse("keys:console"))
    page.get_by_role("button", name="Send one request").click()
    said(page, "No answer came")
    said(page, "Does the API allow calls from this page (CORS)?")
    said(page, "127.0.0.1:9")


def test_console_keeps_the_credential_out_of_page_and_address(open_page: Open, test_key: ApiKey) -> None:
    value = values.decrypt(test_key.gateway_key.value_encrypted)
    page = open_page(reverse("keys:console"))
    page.get_by_role("button", name="Send one request").click()
    said(page, "Answered")
    assert value not in page.content()
    assert value not in page.url
    assert urlsplit(page.url).query == f"key={test_key.pk}"


def test_reveal_shows_the_credential_and_keeps_the_focus(open_page: Open, test_key: ApiKey) -> None:
    value = values.decrypt(test_key.gateway_key.value_encrypted)
    page = open_page(reverse("keys:detail", args=[test_key.pk]))
    page.get_by_role("button", name="Reveal").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#credential-value")).to_have_text(value)
    expect(page.get_by_role("link", name="Hide")).to_be_focused()
    expect(page.locator("#announcer")).to_have_text("The credential is shown.")
    expect(page.locator("#snippet-curl")).to_contain_text(value)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Reveal")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text(value)


def test_copy_copies_without_showing(open_page: Open, test_key: ApiKey, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    value = values.decrypt(test_key.gateway_key.value_encrypted)
    page = open_page(reverse("keys:detail", args=[test_key.pk]))
    page.locator(".secret").get_by_role("button", name="Copy").click()
    expect(page.locator("#announcer")).to_have_text("The credential was copied; it was not shown.")
    assert page.evaluate("() => navigator.clipboard.readText()") == value
    assert value not in page.content()


def test_a_prepared_key_turns_ready_by_itself_in_list_and_page(open_page: Open, acme: Tenant) -> None:
    api_key = buy(acme, make_tier(), name="Waiting")
    page = open_page(reverse("keys:list"))
    expect(page.locator(f"#row-{api_key.pk}")).to_contain_text("Preparing")
    bring_into_service()
    expect(page.locator(f"#row-{api_key.pk}")).to_contain_text("Ready")
    expect(page.locator("#announcer")).to_have_text("Waiting is ready.")

    GatewayKey.objects.update(in_service_at=None)
    page = open_page(reverse("keys:detail", args=[api_key.pk]))
    expect(page.locator("#state")).to_contain_text("Preparing")
    bring_into_service()
    expect(page.locator("#state")).to_contain_text("Ready")
    expect(page.get_by_role("link", name="Rotate")).to_be_visible()


def test_search_narrows_the_list_while_typing(open_page: Open, acme: Tenant) -> None:
    tier = make_tier()
    buy(acme, tier, name="Shop")
    buy(acme, tier, name="Stall")
    page = open_page(reverse("keys:list"))
    page.get_by_label("Search keys").press_sequentially("sta")
    expect(page.get_by_role("row", name="Shop")).to_have_count(0)
    expect(page.get_by_role("rowheader", name="Stall")).to_be_visible()
    expect(page.locator("#keys-found")).to_contain_text("1 key matches “sta”.")
    expect(page.get_by_label("Search keys")).to_be_focused()
    assert urlsplit(page.url).query == "q=sta"
