"""Everything that a full run wrote down, searched for every secret that it issued.

The run is ``make run``'s own: web server, worker, beat and sandbox, each with its log at the most talkative level. A person signs up,
confirms the address, mistypes the password, buys, reveals, rotates, calls the API, resets the password; the sandbox is killed meanwhile.
"""

import gzip
import json
import os
import re
import signal
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from django.core import signing

from tests.portal.test_laptop import Laptop
from tests.support.services import wait_until

pytestmark = pytest.mark.slow

EMAIL = "mallory-watches@example.com"
PASSWORDS = {"first": "violet-Kettle-7731", "mistyped": "violet-Kettel-7731", "second": "amber-Saucer-4402"}
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
LINK = re.compile(r"https?://[^/\s]+(/accounts/\S+)")
SESSIONS = "django.contrib.sessions.SessionStore"  # the salt they are signed with


class Browser:
    """Forms and cookies, and a note of every secret that came by."""

    def __init__(self, laptop: Laptop) -> None:
        self.root = f"http://localhost:{laptop.port}"
        self.broker = laptop.folder / "data" / "broker"
        self.jar = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.secrets: set[str] = set()
        self.messages: set[bytes] = set()

    def open(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> tuple[int, str, str]:
        """(status, path in the end, body) of a GET, or of a POST of ``fields``."""
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        headers = {"Referer": f"{self.root}/", **headers}
        request = urllib.request.Request(self.root + path, data=data, headers=headers)  # noqa: S310 - http, on this machine
        try:
            answer = self.opener.open(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
        self.secrets |= {cookie.value for cookie in self.jar if cookie.value and cookie.name in {"session", "csrf"}}
        self.secrets |= set(TOKEN.findall(text))
        self.messages |= {path.read_bytes() for path in self._messages()}
        return answer.status, urllib.parse.urlsplit(answer.url).path, text

    def submit(self, path: str, **fields: str) -> tuple[int, str, str]:
        """Open the page of a form and send it."""
        _status, path, text = self.open(path)
        return self.open(path, {**fields, "csrfmiddlewaretoken": TOKEN.findall(text)[-1]})

    def _messages(self) -> Iterator[Path]:
        return (path for path in self.broker.rglob("*") if path.is_file())


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laptop]:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("LOG_FORMAT", "json")
    laptop = Laptop(tmp_path)
    laptop.start()
    yield laptop
    if laptop.process is not None and not laptop.ended():
        laptop.process.terminate()
        laptop.process.wait(15)


def link_in_mail(laptop: Laptop, what: str) -> str:
    """The path that the newest mail about ``what`` links to."""
    links = [link for path in sorted((laptop.folder / "data" / "mail").glob("*.log")) for link in LINK.findall(path.read_text())]
    return next(link for link in reversed(links) if what in link)


def credential_of(browser: Browser, page: str) -> str:
    """Reveal, as the console does and as the page does."""
    token = TOKEN.findall(browser.open(page)[2])[-1]
    status, _path, text = browser.open(f"{page}reveal/", {"csrfmiddlewaretoken": token}, Accept="application/json")
    assert status == 200, text
    value = str(json.loads(text)["value"])
    assert value in browser.open(f"{page}reveal/", {"csrfmiddlewaretoken": token})[2]
    browser.secrets.add(value)
    return value


def sign_up(laptop: Laptop, browser: Browser) -> None:
    browser.submit("/accounts/signup/", tenant_name="Mallory", email=EMAIL, password1=PASSWORDS["first"])
    link = link_in_mail(laptop, "confirm-email")
    browser.secrets.add(link.strip("/").split("/")[-1])
    browser.submit(link)
    browser.jar.clear()
    status, path, _text = browser.submit("/accounts/login/", login=EMAIL, password=PASSWORDS["mistyped"])
    assert (status, path) == (200, "/accounts/login/")
    assert browser.submit("/accounts/login/", login=EMAIL, password=PASSWORDS["first"])[1] == "/keys/"


def use_a_key(browser: Browser, slug: str) -> set[str]:
    """Buy, reveal, rotate where that can be done, and paste the credential where it does not belong; its values."""
    page = browser.submit(f"/keys/buy/{slug}/", name="Shop", description="", purchase_token=str(uuid.uuid4()))[1]
    values = {credential_of(browser, page)}
    wait_until(lambda: browser.open(f"{page}state/")[0] == 200, seconds=20, what="a key that is ready")
    if slug == "test":
        browser.submit(f"{page}rotate/", grace="3600")
        values.add(credential_of(browser, page))
    for value in values:
        browser.open(f"/keys/?q={value}")
        browser.open(f"/keys/{value}/", **{"X-Api-Key": value, "Authorization": f"Bearer {value}"})
        browser.open("/console/", {"key": value, "password": PASSWORDS["first"]})  # refused: no CSRF token
    return values


def call(laptop: Laptop, value: str) -> None:
    api = HTTPConnection("127.0.0.1", laptop.sandbox_port, timeout=10)
    with closing(api):
        api.request("GET", "/_aws/execute-api/groceries/v1/api", headers={"x-api-key": value})
        assert api.getresponse().status in {200, 403}  # 403: not propagated yet


def reset_password(laptop: Laptop, browser: Browser) -> None:
    browser.jar.clear()
    browser.submit("/accounts/password/reset/", email=EMAIL)
    link = link_in_mail(laptop, "reset/key")
    browser.secrets.add(link.strip("/").split("/")[-1])
    _status, path, _text = browser.submit(link, password1=PASSWORDS["second"], password2=PASSWORDS["second"])
    assert path.endswith("/done/"), path
    assert browser.submit("/accounts/login/", login=EMAIL, password=PASSWORDS["second"])[1] == "/keys/"


def audit_trail(data_dir: Path) -> str:
    with closing(sqlite3.connect(data_dir / "tollgate.sqlite3")) as database:
        return "\n".join(str(row) for row in database.execute("SELECT * FROM tenants_auditevent"))


def sessions(data_dir: Path, secret_key: str) -> str:
    with closing(sqlite3.connect(data_dir / "tollgate.sqlite3")) as database:
        rows = [data for (data,) in database.execute("SELECT session_data FROM django_session")]
    return "\n".join(str(signing.loads(data, key=secret_key, salt=SESSIONS)) for data in rows)


def contents(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def found_in(text: str | bytes, secrets: set[str]) -> list[str]:
    """The beginnings of the secrets that are in the text: enough to find them, and no more."""
    return sorted(secret[:12] for secret in secrets if (secret.encode() if isinstance(text, bytes) else secret) in text)


def test_full_run_writes_no_secret_down(laptop: Laptop) -> None:
    laptop.wait_until_ready()
    browser = Browser(laptop)
    data_dir = laptop.folder / "data"
    sign_up(laptop, browser)
    values = use_a_key(browser, "free") | use_a_key(browser, "test")
    os.kill(laptop.children()["sandbox"], signal.SIGKILL)
    wait_until(lambda: '"event": "gateway.forgot"' in laptop.text(), seconds=30, what="a worker that sees it")
    for value in values:  # now, as a sandbox that is killed loses the lines that it holds
        call(laptop, value)
    reset_password(laptop, browser)
    assert laptop.process is not None
    laptop.process.send_signal(signal.SIGINT)
    laptop.process.wait(15)

    own = json.loads((data_dir / "secrets.json").read_text())
    everything = browser.secrets | set(PASSWORDS.values()) | set(own.values())
    log = laptop.text()
    assert '"event": "gateway.call"' in log
    assert '"path": "/accounts/login/"' in log
    assert len(everything) > 25
    assert found_in(log, everything) == []
    assert found_in(audit_trail(data_dir), everything) == []
    assert browser.messages
    assert [found for message in browser.messages for found in found_in(message, everything)] == []
    assert found_in(sessions(data_dir, own["SECRET_KEY"]), values | set(PASSWORDS.values())) == []
    # Beside the mails and the secrets' own file, nothing that is kept holds a credential or a password in clear.
    kept = [path for path in data_dir.rglob("*") if path.is_file() and path.parent.name != "mail" and path.name != "secrets.json"]
    assert any(path.suffix == ".gz" for path in kept)
    assert {path.name: found for path in kept if (found := found_in(contents(path), values | set(PASSWORDS.values())))} == {}
