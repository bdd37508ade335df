"""The programs that a key's page offers are run as they stand, against a server that throttles."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.utils.html import conditional_escape

from keys.views.snippets import LANGUAGES, PLACEHOLDER, snippets

KEY = "tgk" + "a" * 49
SUFFIX = {"curl": "sh", "python": "py", "javascript": "mjs"}
RUNNER = {"curl": "bash", "python": sys.executable, "javascript": "node"}
THROTTLED = (429, {"message": "Too Many Requests"})
QUOTA = (429, {"message": "Limit Exceeded"})
FORBIDDEN = (403, {"message": "Forbidden"})
FINE = (200, {"groceries": ["milk"]})


class Gateway:
    """Answers with what it was given, in turn, the last for ever; remembers the keys it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, object]]] = [FINE]
        self.keys: list[str | None] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gateway.keys.append(self.headers["X-Api-Key"])
                status, body = gateway.answers.pop(0) if len(gateway.answers) > 1 else gateway.answers[0]
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/it's/api?a=1&b=2"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    thread = threading.Thread(target=gateway.server.serve_forever, daemon=True)
    thread.start()
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()
    thread.join()


def run(slug: str, gateway: Gateway, folder: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which(RUNNER[slug]) is None:
        pytest.skip(f"{RUNNER[slug]} is not installed")
    [program] = [each.text for each in snippets(gateway.url, KEY) if each.slug == slug]
    path = folder / f"call.{SUFFIX[slug]}"
    path.write_text(program)
    return subprocess.run([RUNNER[slug], str(path)], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("slug", SUFFIX)
def test_snippet_retries_what_was_throttled(slug: str, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answers = [THROTTLED, THROTTLED, FINE]
    done = run(slug, gateway, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "milk" in done.stdout
    assert gateway.keys == [KEY] * 3


@pytest.mark.parametrize("slug", SUFFIX)
@pytest.mark.parametrize("answer", [QUOTA, FORBIDDEN])
def test_snippet_does_not_retry_what_a_retry_cannot_mend(
    slug: str, gateway: Gateway, tmp_path: Path, answer: tuple[int, dict[str, object]]
) -> None:
    gateway.answers = [answer]
    done = run(slug, gateway, tmp_path)
    assert gateway.keys == [KEY]
    assert "milk" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("slug", SUFFIX)
def test_snippet_gives_up_after_a_bounded_number_of_tries(slug: str, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answers = [THROTTLED]
    done = run(slug, gateway, tmp_path)
    assert done.returncode != 0
    assert len(gateway.keys) == 6


def test_snippets_hold_address_and_key_in_every_language() -> None:
    texts = {each.slug: each.text for each in snippets("https://example.test/v1/api", KEY)}
    assert list(texts) == [slug for slug, _title in LANGUAGES]
    assert all("https://example.test/v1/api" in text and KEY in text for text in texts.values())


def test_snippets_are_plain_text_that_a_page_escapes() -> None:
    texts = [each.text for each in snippets("https://example.test/<script>")]
    assert all("<script>" in text and "&lt;script&gt;" in conditional_escape(text) for text in texts)


def test_snippets_without_a_credential_hold_a_placeholder() -> None:
    assert all(PLACEHOLDER in each.text for each in snippets("https://example.test/v1/api"))


@pytest.mark.parametrize("url", ['https://example.test/"; import os; "', "https://example.test/'$(id)'"])
def test_snippets_quote_what_stands_in_an_address(url: str) -> None:
    texts = {each.slug: each.text for each in snippets(url)}
    assert json.dumps(url) in texts["python"]
    assert json.dumps(url) in texts["go"]
    shown = subprocess.run(["bash", "-c", texts["curl"].split("key=")[0] + 'printf %s "$url"'], capture_output=True, text=True, check=True)
    assert shown.stdout == url
