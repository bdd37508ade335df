"""The portal for a real browser: Django's live server, a real worker on the file broker, and the sandbox."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from keys import selectors
from tests.support.sandbox import SandboxProcess
from tests.support.services import Broker, wait_until


class Portal:
    """The portal with its tiers provisioned, and a page open in Chromium."""

    def __init__(self, page: Page, url: str, sandbox: SandboxProcess) -> None:
        self.page = page
        self.url = url
        self.sandbox = sandbox

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sign_in(self, email: str, password: str = "correct-horse-battery") -> None:
        self.open("/accounts/login/")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("main").get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/keys/")

    def buy(self, slug: str, name: str) -> None:
        self.open(f"/keys/buy/{slug}/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_role("button", name="Buy this key").click()
        self.page.wait_for_url("**/keys/*-*/")


@pytest.fixture
def portal(
    transactional_db: None,
    live_server: LiveServer,
    page: Page,
    sandbox: SandboxProcess,
    monkeypatch: pytest.MonkeyPatch,
    standing_worker: Broker,
) -> Portal:
    """Everything runs, and what the tiers need is at the gateway."""
    for name, value in {
        "GATEWAY_ACCOUNT_ID": "000000000000",
        "GATEWAY_REGION": "us-east-1",
        "GATEWAY_REST_API_ID": "groceries",
        "GATEWAY_STAGE": "v1",
        "GATEWAY_INVOKE_URL": f"{sandbox.url}/_aws/execute-api/groceries/v1",
    }.items():
        monkeypatch.setenv(name, value)
    call_command("register_gateway", propagation=0, name="Sandbox", verbosity=0)
    call_command("seed_tiers", verbosity=0)
    wait_until(lambda: selectors.oldest_pending_at() is None, seconds=20, what="quiet")
    return Portal(page, live_server.url, sandbox)
