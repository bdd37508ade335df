"""The interactive docs of the REST API in a real browser, under the portal's own content security policy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from keys.models import Tier
from tenants.models import Tenant, User
from tests.support.api import token_for
from tests.support.browser import ConsoleErrors
from tests.support.cast import PASSWORD
from tests.support.factories import make_tier

pytestmark = pytest.mark.browser


@pytest.fixture
def tier(transactional_db: None) -> Tier:
    return make_tier(slug="gold", name="Gold")


class Docs:
    """The page, open."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def open(self, path: str = "/api/docs") -> None:
        self.page.goto(self.url + path)
        expect(self.page.locator("#api-docs[data-ready]")).to_be_visible()

    def sign_in(self, user: User) -> None:
        self.page.goto(f"{self.url}/accounts/login/?next=/api/docs")
        self.page.get_by_label("E-mail").fill(user.email)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("main").get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/api/docs")
        expect(self.page.locator("#api-docs[data-ready]")).to_be_visible()

    def authorize(self, token: str) -> None:
        self.page.locator(".auth-wrapper .authorize").first.click()
        dialog = self.page.locator(".modal-ux")
        dialog.locator("input").fill(token)
        dialog.get_by_role("button", name="Apply").or_(dialog.get_by_role("button", name="Authorize")).first.click()
        dialog.get_by_role("button", name="Close").click()

    def try_it(self, operation: str, body: str | None = None) -> tuple[int, str]:
        """Status and body of the operation's answer."""
        block = self.page.locator(f"[id$='-{operation}']")
        if "is-open" not in (block.get_attribute("class") or ""):
            block.locator(".opblock-summary-control").click()
        if block.get_by_role("button", name="Try it out").count():
            block.get_by_role("button", name="Try it out").click()
        if body is not None:
            block.locator("textarea.body-param__text").fill(body)
        with self.page.expect_response(lambda answer: "/api/v1/" in answer.url) as answer:
            block.locator(".execute").click()
        expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(str(answer.value.status))
        return answer.value.status, answer.value.text()


@pytest.fixture
def docs(page: Page, live_server: LiveServer, transactional_db: None) -> Docs:
    return Docs(page, live_server.url)


def test_anybody_may_read(docs: Docs) -> None:
    docs.open()
    expect(docs.page.get_by_role("heading", name="REST API", level=1)).to_be_visible()
    expect(docs.page.locator(".opblock-tag-section")).not_to_have_count(0)
    docs.page.locator("[id$='-make_token'] .opblock-summary-control").click()
    expect(docs.page.get_by_text("The secret is in this answer")).to_be_visible()
    expect(docs.page.get_by_text("Scope: tenant:write.")).to_be_visible()


def test_try_it_with_the_session(docs: Docs, alice: User, acme: Tenant) -> None:
    docs.sign_in(alice)
    status, body = docs.try_it("get_tenant")
    assert status == 200
    assert '"name":"Acme"' in body
    status, body = docs.try_it("change_tenant", '{"name": "Acme & Sons"}')
    assert (status, '"name":"Acme & Sons"' in body) == (200, True)
    acme.refresh_from_db()
    assert acme.name == "Acme & Sons"


def test_try_it_with_a_token(docs: Docs, alice: User, tier: Tier, console_errors: ConsoleErrors) -> None:
    console_errors.allow(r"status of 401")  # the browser's own line about the first answer
    docs.open()
    assert docs.try_it("list_tiers")[0] == 401
    docs.authorize(token_for(alice))
    status, body = docs.try_it("list_tiers")
    assert status == 200
    assert '"slug":"gold"' in body
    # It is kept in memory alone.
    assert docs.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])").count("tgp") == 0
    assert not re.search("tgp", docs.page.url)


def test_token_goes_without_cookies(docs: Docs, alice: User, charlie: User) -> None:
    docs.sign_in(alice)
    docs.authorize(token_for(charlie))
    with docs.page.expect_request(lambda request: "/api/v1/tenant" in request.url) as request:
        _status, body = docs.try_it("get_tenant")
    assert '"name":"Outsiders"' in body
    assert "cookie" not in request.value.all_headers()


def test_on_a_phone_nothing_scrolls_sideways(docs: Docs) -> None:
    docs.page.set_viewport_size({"width": 375, "height": 800})
    docs.open()
    docs.page.locator("[id$='-get_tenant'] .opblock-summary-control").click()
    expect(docs.page.get_by_text("The organisation that the token belongs to.")).to_be_visible()
    assert docs.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
