"""The portal's own pages and the account pages: their frame, their words, and that they need neither inline code nor JavaScript."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.core import mail
from django.template.loader import render_to_string
from django.test import Client, RequestFactory

from portal.views.docs import REFUSALS, snippets
from tenants.models import User
from tests.portal.html import Page

PASSWORD = "correct horse battery"
TEMPLATES = Path(settings.BASE_DIR) / "templates"
STATIC = Path(settings.BASE_DIR) / "static" / "tollgate"

PUBLIC_PAGES = [
    "/",
    "/docs/",
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/none-such/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/0-none/",
    "/accounts/password/reset/key/done/",
    "/accounts/inactive/",
]
ACCOUNT_PAGES = [
    "/",
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/accounts/reauthenticate/",
    "/accounts/2fa/",
    "/accounts/2fa/totp/activate/",
]
STATIC_ERRORS = ["400.html", "403_csrf.html", "500.html", "503.html"]
FRAMED_ERRORS = ["403.html", "404.html", "429.html"]


@pytest.fixture
def person(db: None) -> User:
    user = User.objects.create_user("ada@example.com", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


@pytest.fixture
def signed_in(client: Client, person: User) -> Client:
    client.post("/accounts/login/", {"login": person.email, "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def check(text: str) -> Page:
    """What holds for every page of the portal."""
    page = Page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert page.inline == []
    assert page.foreign_addresses() == []
    assert page.unlabelled_controls() == []
    assert page.dangling_references() == []
    assert sorted(set(page.ids)) == sorted(page.ids)
    assert all("alt" in image for image in page.all("img"))
    assert all("type" in button for button in page.all("button"))
    assert any(link.get("class") == "skip" and link["href"] == "#main" for link in page.all("a"))
    assert re.search(r"<title>\s*\S.* · Tollgate</title>", text)
    return page


@pytest.mark.parametrize("path", PUBLIC_PAGES)
def test_public_page_is_whole(client: Client, db: None, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    check(answer.text)
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ACCOUNT_PAGES)
def test_page_of_a_signed_in_person_is_whole(signed_in: Client, path: str) -> None:
    answer = signed_in.get(path)
    assert answer.status_code == 200
    page = check(answer.text)
    assert {"method": "post", "action": "/accounts/logout/"} in page.all("form")
    assert "/staff/" not in [link.get("href") for link in page.all("a")]


def test_staff_see_the_way_to_the_staff_pages(signed_in: Client, person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_staff=True)
    assert "/staff/" in [link.get("href") for link in Page(signed_in.get("/").text).all("a")]


def test_recovery_codes_are_shown_after_they_were_made(signed_in: Client, person: User) -> None:
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    TOTP.activate(person, generate_totp_secret())
    check(signed_in.get("/accounts/2fa/recovery-codes/generate/").text)
    answer = signed_in.post("/accounts/2fa/recovery-codes/generate/", follow=True)
    page = check(answer.text)
    assert "recovery_codes" in page.ids
    check(signed_in.get("/accounts/2fa/").text)
    confirm = check(signed_in.get("/accounts/2fa/totp/deactivate/").text)
    assert [link for link in confirm.all("a") if "autofocus" in link] == [
        {"class": "button", "href": "/accounts/2fa/", "data-cancel": "", "autofocus": ""}
    ]


@pytest.mark.parametrize("template", STATIC_ERRORS)
def test_error_page_needs_no_request_and_no_database(template: str) -> None:
    page = check(render_to_string(template, {}))
    assert "/" in [link.get("href") for link in page.all("a")]


@pytest.mark.parametrize("template", FRAMED_ERRORS)
def test_error_page_in_the_frame_has_a_way_on(template: str) -> None:
    page = check(render_to_string(template, {}, request=RequestFactory().get("/nowhere/")))
    assert "/" in [link.get("href") for link in page.all("a")]


def test_server_error_names_the_request() -> None:
    assert "<code>3f0c</code>" in render_to_string("500.html", {"request_id": "3f0c"})


def test_too_many_tries_says_which_limit_and_when_again() -> None:
    text = render_to_string("429.html", {"limit_name": "signing in", "retry_after": 40})
    assert "The limit that was reached: signing in." in text
    assert "Try again in 40 seconds." in text
    assert "Try again in 1 second." in render_to_string("429.html", {"retry_after": 1})


def test_missing_page_answers_404_in_the_frame(client: Client, db: None) -> None:
    answer = client.get("/none-such/")
    assert answer.status_code == 404
    check(answer.text)


def test_home_shows_a_picture_without_javascript(client: Client, db: None) -> None:
    page = check(client.get("/").text)
    assert any(picture.get("class") == "still" for picture in page.all("svg"))
    assert [script["src"] for script in page.all("script") if "type" not in script and "defer" not in script] == [
        "/static/tollgate/theme.js"
    ]


def test_sign_up_is_friendly_to_password_managers(client: Client, db: None) -> None:
    inputs = {field["name"]: field.get("autocomplete") for field in Page(client.get("/accounts/signup/").text).all("input")}
    assert inputs["email"] == "email"
    assert inputs["password1"] == "new-password"
    inputs = {field["name"]: field.get("autocomplete") for field in Page(client.get("/accounts/login/").text).all("input")}
    assert inputs["login"] == "email"
    assert inputs["password"] == "current-password"


def test_wrong_password_is_told_beside_the_form(client: Client, person: User) -> None:
    answer = client.post("/accounts/login/", {"login": person.email, "password": "wrong"})
    check(answer.text)
    assert 'class="errorlist nonfield"' in answer.text


def test_invalid_field_is_described_by_its_error(client: Client, db: None) -> None:
    page = check(client.post("/accounts/password/reset/", {"email": "nonsense"}).text)
    (field,) = [field for field in page.all("input") if field.get("name") == "email"]
    assert field["aria-invalid"] == "true"
    assert "id_email_error" in field["aria-describedby"]


@pytest.mark.parametrize("demo", [True, False])
def test_verification_page_links_the_mailbox_only_in_the_demo(client: Client, db: None, *, demo: bool, settings: object) -> None:
    settings.DEMO = demo  # type: ignore[attr-defined]
    links = [link.get("href") for link in Page(client.get("/accounts/confirm-email/").text).all("a")]
    assert ("/_mail/" in links) == demo


def test_reset_mail_is_in_our_words(client: Client, person: User) -> None:
    client.post("/accounts/password/reset/", {"email": person.email})
    (message,) = mail.outbox
    assert message.subject == "Reset your password"
    assert message.body.startswith("Open this link to choose a new password:\n\nhttp")
    link = re.search(r"https?://[^/]+(/\S+)", message.body)
    assert link
    page = check(client.get(link[1], follow=True).text)
    assert {"new-password"} == {field.get("autocomplete") for field in page.all("input") if field.get("type") == "password"}


def test_reset_for_an_unknown_address_looks_the_same(client: Client, person: User) -> None:
    known = client.post("/accounts/password/reset/", {"email": person.email}, follow=True)
    unknown = client.post("/accounts/password/reset/", {"email": "nobody@example.com"}, follow=True)
    assert known.redirect_chain == unknown.redirect_chain


def test_templates_hold_no_inline_code_and_no_cheering() -> None:
    for path in TEMPLATES.rglob("*"):
        if path.suffix not in {".html", ".txt"} or "snippets" in path.parts:
            continue
        text = path.read_text()
        assert "successfully" not in text.lower(), path
        assert not re.search(r"\sstyle=|\son[a-z]+=", text), path
        words = re.findall(r"{% (?:blocktranslate|blocktrans)[^%]*%}(.*?){% end|{% translate \"([^\"]*)\"", text, re.DOTALL)
        assert not [group for group in words if "!" in "".join(group)], path


def test_our_static_files_load_nothing_from_elsewhere() -> None:
    for path in STATIC.rglob("*"):
        if path.suffix in {".css", ".js"}:
            assert not re.search(r"url\(\s*['\"]?(?:https?:)?//|@import.*https?:|from \"https?:", path.read_text()), path


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.slug)
def test_docs_show_each_refusal_as_it_goes_over_the_wire(client: Client, db: None, refusal: object) -> None:
    text = client.get("/docs/").text.replace("&quot;", '"')
    assert refusal.text in text  # type: ignore[attr-defined]


def test_refusals_have_the_lengths_that_aws_sends() -> None:
    lengths = {refusal.slug: re.search(r"content-length: (\d+)", refusal.text) for refusal in REFUSALS}
    assert {slug: int(found[1]) for slug, found in lengths.items() if found} == {
        "throttled": 31,
        "quota": 28,
        "forbidden": 23,
        "no-route": 42,
    }


class Api(ThreadingHTTPServer):
    """Answers calls with the given refusals in turn, then with 200."""

    def __init__(self, refusals: list[tuple[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.refusals = refusals
        self.keys: list[str | None] = []


class ApiHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        api = self.server
        assert isinstance(api, Api)
        api.keys.append(self.headers["X-Api-Key"])
        if api.refusals:
            kind, message = api.refusals.pop(0)
            body = f'{{"message":"{message}"}}'.encode()
            self.send_response(429)
            self.send_header("x-amzn-ErrorType", kind)
        else:
            body = b'["apples"]'
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


RUNNERS = {"python": [sys.executable], "javascript": ["node", "--input-type=module", "-e"], "curl": ["bash", "-c"]}
THROTTLED = ("TooManyRequestsException", "Too Many Requests")
QUOTA = ("LimitExceededException", "Limit Exceeded")


def run_snippet(language: str, api: Api, folder: Path) -> str:
    """Run a snippet of the docs as a reader would, against the stub."""
    url = f"http://127.0.0.1:{api.server_port}/api"
    (text,) = [snippet["text"] for snippet in snippets(url) if snippet["slug"] == language]
    command = RUNNERS[language]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    if language == "curl":
        text = text[text.index("# A script") :]
    if language == "python":
        text = _as_file(text, folder)
    environment = {"API_KEY": "tgk1", "PATH": "/usr/bin:/bin:/usr/local/bin"}
    done = subprocess.run([*command, text], env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def _as_file(text: str, folder: Path) -> str:
    path = folder / "snippet.py"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("language", RUNNERS)
def test_snippet_retries_when_throttled(language: str, api: Api, tmp_path: Path) -> None:
    api.refusals = [THROTTLED, THROTTLED]
    assert "apples" in run_snippet(language, api, tmp_path)
    assert api.keys == ["tgk1"] * 3


@pytest.mark.parametrize("language", RUNNERS)
def test_snippet_gives_up_at_once_when_the_quota_is_used_up(language: str, api: Api, tmp_path: Path) -> None:
    api.refusals = [QUOTA, QUOTA]
    assert "429" in run_snippet(language, api, tmp_path)
    assert api.keys == ["tgk1"]
