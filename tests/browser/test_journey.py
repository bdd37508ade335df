"""What a person does, in real Chromium. Console errors and CSP violations fail every test here."""

from __future__ import annotations

import re
import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from playwright.sync_api import Page, expect

from keys.models import ApiKey
from tenants.models import Tenant, User
from tests.browser.conftest import Portal
from tests.support.browser import ConsoleErrors

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def number(page: Page, counter: str) -> int:
    return int(page.locator(f"[data-counter={counter}]").inner_text().strip())


def confirm(page: Page, verb: str) -> None:
    """The dialog that a destructive link opens, Cancel focused."""
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel").or_(dialog.get_by_role("button", name="Cancel"))).to_be_focused()
    dialog.get_by_role("button", name=verb).click()


def test_newcomer_signs_up_buys_two_keys_and_sees_the_first_429(portal: Portal, console_errors: ConsoleErrors) -> None:
    console_errors.allow(r"status of 429")
    page = portal.page
    portal.open("/")
    page.get_by_role("link", name=re.compile("Create account|Sign up")).first.click()
    page.get_by_label("Organisation").fill("Corner Shop")
    page.get_by_label("E-mail").fill("dana@example.com")
    page.get_by_label("Password", exact=True).fill("a-long-enough-one")
    page.get_by_role("main").get_by_role("button", name="Create account").click()
    page.wait_for_url("**/confirm-email/")
    link = re.search(r"http\S+/accounts/confirm-email/\S+", mail.outbox[-1].body)
    assert link
    page.goto(link.group(0))
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url("**/keys/")
    assert Tenant.objects.filter(name="Corner Shop", memberships__user__email="dana@example.com").exists()

    portal.buy("test", "Siloed")
    expect(page.get_by_text("Ready").first).to_be_visible()
    portal.buy("free", "Pooled")
    expect(page.get_by_text("Ready").first).to_be_visible()

    page.get_by_role("link", name="Open in the console").click()
    page.get_by_role("button", name="Send one request").click()
    expect(page.locator("#status")).to_contain_text("200")
    page.get_by_label("Requests").fill("60")
    page.get_by_label("A second").fill("100")
    page.get_by_role("button", name="Send burst").click()
    expect(page.locator("[data-counter=sent]")).to_have_text(re.compile("61"), timeout=20_000)
    expect(page.locator("[data-counter=waiting]")).to_have_text(re.compile("0"), timeout=20_000)
    expect(page.locator("#seen [data-show=throttled]")).to_be_visible()
    expect(page.locator("#explanation")).not_to_be_empty()


def test_owner_rotates_disables_enables_and_revokes(portal: Portal, alice: User) -> None:
    page = portal.page
    portal.sign_in(alice.email)
    portal.buy("premium", "Till")
    key = ApiKey.objects.select_related("gateway_key").get()
    key_url = page.url

    page.get_by_role("button", name="Reveal").click()
    expect(page.locator("#credential-value")).to_contain_text("tgk")
    old = page.locator("#credential-value").inner_text()
    page.goto(key_url)
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label(re.compile("1 hour")).check()
    page.get_by_role("button", name="Rotate this key").click()
    expect(page.get_by_text("Two credentials work")).to_be_visible(timeout=30_000)  # said once the new one is ready
    assert portal.sandbox.invoke(old).status == 200

    page.get_by_role("link", name="Disable").click()
    confirm(page, "Disable")
    expect(page.get_by_text("Disabled", exact=True).first).to_be_visible()
    page.get_by_role("link", name="Enable").click()
    page.get_by_role("dialog").get_by_role("button", name="Enable").click()
    expect(page.get_by_text("Ready", exact=True).first).to_be_visible()

    page.get_by_role("link", name="Revoke").click()
    confirm(page, "Revoke")
    expect(page.get_by_text("Revoked", exact=True).first).to_be_visible()
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_pooled_key_offers_nothing_that_it_cannot_do(portal: Portal, alice: User) -> None:
    page = portal.page
    portal.sign_in(alice.email)
    portal.buy("free", "Trial")

    expect(page.get_by_role("link", name="Disable")).to_have_count(0)
    expect(page.get_by_role("link", name="Rotate")).to_have_count(0)
    expect(page.get_by_text("A copy of its credential may go on being answered")).to_be_visible()
    assert not re.search(r"\b(pool|pooled|silo|siloed)\b", page.content(), re.IGNORECASE)


def test_double_click_buys_once(portal: Portal, alice: User) -> None:
    page = portal.page
    portal.sign_in(alice.email)
    portal.open("/keys/buy/free/")
    page.get_by_label("Name").fill("Twice")

    page.get_by_role("button", name="Buy this key").dblclick()
    page.wait_for_url("**/keys/*-*/")

    assert ApiKey.objects.filter(name="Twice").count() == 1


def test_console_works_by_keyboard(portal: Portal, alice: User) -> None:
    page = portal.page
    portal.sign_in(alice.email)
    portal.buy("premium", "Keyboard")
    portal.open("/console/")

    page.get_by_role("button", name="Send one request").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#status")).to_contain_text("200")


def test_burst_can_be_stopped(portal: Portal, alice: User, console_errors: ConsoleErrors) -> None:
    console_errors.allow(r"status of 429")
    page = portal.page
    portal.sign_in(alice.email)
    portal.buy("premium", "Stopper")
    portal.open("/console/")
    page.get_by_label("Requests").fill("500")
    page.get_by_label("A second").fill("20")
    page.get_by_role("button", name="Send burst").click()
    expect(page.locator("[data-counter=sent]")).not_to_have_text(re.compile(r"^\s*0\s*$"))

    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-counter=waiting]")).to_have_text(re.compile(r"^\s*0\s*$"))

    assert number(page, "sent") < 500


PAGES = ["/", "/tiers/", "/docs/", "/keys/", "/keys/buy/premium/", "/console/", "/accounts/email/", "/accounts/2fa/", "/no-such-page/"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_the_screen_in_light_and_dark(
    portal: Portal, alice: User, scheme: str, width: int, console_errors: ConsoleErrors
) -> None:
    console_errors.allow(r"status of 404")
    page = portal.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 800})
    portal.sign_in(alice.email)
    portal.buy("premium", "A key with a rather long name that a person might give it")
    key_page = page.url.removeprefix(portal.url)

    for path in [*PAGES, key_page]:
        portal.open(path)

        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("h1").count() == 1, path
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(re.findall(r"\d+", background)[0])
        assert (red < 128) == (scheme == "dark"), f"{path}: {background}"


def test_second_factor_is_asked_after_it_was_set_up(portal: Portal, alice: User) -> None:
    page, main = portal.page, portal.page.get_by_role("main")
    portal.sign_in(alice.email)
    portal.open("/accounts/2fa/totp/activate/")
    page.get_by_label("Password", exact=True).fill("correct-horse-battery")
    main.get_by_role("button", name="Confirm").click()
    secret = page.locator("#authenticator_secret").inner_text().replace(" ", "").strip()

    page.locator("#id_code").fill(code_of(secret, 0))
    main.locator("button[type=submit]").click()
    page.wait_for_url("**/2fa/recovery-codes/**")
    page.context.clear_cookies()
    portal.open("/accounts/login/")
    page.get_by_label("E-mail").fill(alice.email)
    page.get_by_label("Password", exact=True).fill("correct-horse-battery")
    main.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/2fa/authenticate/**")
    page.locator("#id_code").fill(code_of(secret, 1))
    main.locator("button[type=submit]").first.click()

    page.wait_for_url("**/keys/")


def code_of(secret: str, step: int) -> str:
    """The authenticator app's code, ``step`` half minutes from now. Each is accepted once, now and in the next half minute."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step))


def test_staff_see_gateways_without_csp_violations(portal: Portal, sam: User) -> None:
    page = portal.page
    portal.open("/accounts/login/?next=/staff/")
    page.get_by_label("E-mail").fill(sam.email)
    page.get_by_label("Password", exact=True).fill("correct-horse-battery")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/staff/")

    for path in (
        "/staff/keys/gateway/",
        "/staff/keys/tier/",
        "/staff/keys/gatewaykey/",
        "/staff/keys/apikey/",
        "/staff/tenants/auditevent/",
    ):
        portal.open(path)
        expect(page.locator("h1")).to_be_visible()
