"""Tokens and webhooks in real Chromium: made by hand, used by a program, seen to arrive."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Dialog, expect

from tenants.models import Token, User, WebhookEndpoint
from tests.browser.conftest import Portal
from tests.support.browser import ConsoleErrors
from tests.support.receiver import Receiver, receiver

__all__ = ["receiver"]

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def call(portal: Portal, path: str, token: str) -> Any:
    request = urllib.request.Request(f"{portal.url}/api/v1{path}", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
        return json.load(answer)


def test_owner_makes_a_token_uses_it_and_revokes_it(portal: Portal, alice: User, console_errors: ConsoleErrors) -> None:
    page = portal.page
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    portal.sign_in(alice.email)
    page.get_by_role("link", name="Settings", exact=True).first.click()
    page.get_by_role("link", name="Tokens", exact=True).click()
    page.get_by_role("link", name="Make a token").click()
    page.get_by_role("textbox", name="Name").fill("Nightly export")
    page.get_by_role("checkbox", name=re.compile("tenant:read")).check()
    page.get_by_role("button", name="Make this token").click()
    secret = page.locator("#token-value").inner_text()

    assert call(portal, "/tenant", secret)["name"] == "Acme"
    page.on("dialog", stay)
    with page.expect_event("dialog"):
        page.get_by_role("link", name="Done").click(no_wait_after=True)
    assert asked == ["beforeunload"]  # the warning before an uncopied token is lost
    expect(page.locator("#token-value")).to_be_visible()
    page.get_by_role("checkbox", name="I have kept it in a safe place").check()
    page.get_by_role("link", name="Done").click()
    page.wait_for_url("**/settings/tokens/")
    assert secret not in page.content()
    expect(page.get_by_role("row", name=re.compile("Nightly export"))).to_contain_text("Works")

    page.get_by_role("link", name="Revoke Nightly export").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Revoke this token").click()
    expect(page.get_by_text("The token “Nightly export” was revoked.")).to_be_visible()
    assert Token.objects.get().revoked_at is not None


def test_reloading_shows_no_token_and_makes_no_second_one(portal: Portal, alice: User) -> None:
    page = portal.page
    portal.sign_in(alice.email)
    portal.open("/settings/tokens/new/")
    page.get_by_role("textbox", name="Name").fill("CI")
    page.get_by_role("checkbox", name=re.compile("keys:read")).check()
    page.get_by_role("button", name="Make this token").click()
    secret = page.locator("#token-value").inner_text()
    page.get_by_role("checkbox", name="I have kept it in a safe place").check()

    page.reload()

    expect(page.get_by_text("This form was sent before")).to_be_visible()
    assert secret not in page.content()
    assert Token.objects.count() == 1


def test_owner_registers_a_webhook_and_sees_a_test_arrive(
    portal: Portal, alice: User, receiver: Receiver, console_errors: ConsoleErrors
) -> None:
    page = portal.page
    portal.sign_in(alice.email)
    portal.open("/settings/webhooks/")
    page.get_by_role("link", name="Register a webhook").click()
    page.get_by_label("URL").fill(receiver.url())
    page.get_by_role("button", name="Register this webhook").click()
    expect(page.get_by_text("The webhook was registered.")).to_be_visible()

    page.get_by_role("button", name="Reveal").click()
    expect(page.locator("#secret-value")).to_contain_text("whsec_")
    page.get_by_role("link", name="Hide").click()
    expect(page.locator("#secret-value")).to_have_count(0)
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#delivery-state")).to_contain_text("Delivered", timeout=20_000)

    [received] = receiver.received
    assert json.loads(received.body)["type"] == "webhook.test"
    expect(page.locator("#delivery-state")).to_contain_text(received.id)
    page.get_by_role("link", name=re.compile("Webhook to")).click()
    expect(page.get_by_role("row", name=re.compile("webhook.test"))).to_contain_text("204")

    page.get_by_role("link", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete this webhook").click()
    expect(page.get_by_text("No webhooks yet")).to_be_visible()
    assert WebhookEndpoint.objects.get().deleted_at is not None
