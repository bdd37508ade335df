"""Real Chromium for tests: found, never downloaded. A page that complains in its console fails its test.

@pytest.mark.browser
def test_something(page, live_server, console_errors):
    console_errors.allow(r"status of 429")     # only where the page is meant to meet one
    page.goto(live_server.url)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError, expect

from tests.support import services

# As root Chromium runs without its sandbox only; the rest keeps it from talking to anyone but the page's server.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=20_000)  # a machine that is busy takes longer than the 5 s that are usual
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """pytest-playwright's arguments, with the installed Chromium."""
    return {**browser_type_launch_args, "executable_path": services.chromium(), "args": ARGUMENTS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """Each test's context: a laptop's window, English, no motion."""
    return {**browser_context_args, "viewport": {"width": 1280, "height": 800}, "locale": "en-US", "reduced_motion": "reduce"}


class ConsoleErrors:
    """What the pages of one test complained about: console errors, scripts that failed, requests that left this machine."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._allowed: list[re.Pattern[str]] = []

    def allow(self, pattern: str) -> None:
        """Expect complaints that match this regular expression, such as the browser's own line about a 429."""
        self._allowed.append(re.compile(pattern))

    def unexpected(self) -> list[str]:
        """The complaints that nobody allowed."""
        return [text for text in self.seen if not any(pattern.search(text) for pattern in self._allowed)]

    def watch(self, context: BrowserContext) -> None:
        """Listen to every page of the context. CSP violations arrive as console errors."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.seen.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: WebError) -> None:
        self.seen.append(f"uncaught: {error.error}")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in {"http", "https", "ws", "wss"} and address.hostname not in LOOPBACK:
            self.seen.append(f"left this machine: {request.url}")


@pytest.fixture
def console_errors(context: BrowserContext) -> Iterator[ConsoleErrors]:
    """Watches the test's pages; used by every test marked ``browser``, named only to ``allow`` something."""
    errors = ConsoleErrors()
    errors.watch(context)
    yield errors
    assert errors.unexpected() == []


@pytest.fixture(autouse=True)
def _watched_console(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("browser") and "context" in request.fixturenames:
        request.getfixturevalue("console_errors")
