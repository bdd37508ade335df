"""The scripts of ``examples/``, each as a process of its own against a running portal."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from keys.models import ApiKey, Credential, Tier, UsageDay
from tenants.models import Tenant, Token, User
from tests.support.api import token_for
from tests.support.factories import bring_into_service, buy, make_tier
from tests.support.services import ROOT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
Run = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def start(name: str, *arguments: str, url: str, secret: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TOLLGATE_URL": url, "TOLLGATE_TOKEN": secret}
    command = [sys.executable, "-I", str(ROOT / "examples" / f"{name}.py"), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def secret(alice: User) -> str:
    return token_for(alice)


@pytest.fixture
def run(live_server: LiveServer, settings: Any, secret: str) -> Run:
    """``run("buy_key", "free", "Shop")``: the script with Alice's token. Links of the portal lead to the test's server."""
    settings.PORTAL_URL = live_server.url
    return lambda name, *arguments: finish(start(name, *arguments, url=live_server.url, secret=secret))


@pytest.fixture
def pooled(acme: Tenant) -> Tier:
    tier = make_tier(slug="free", pool_size=2, max_api_keys=5000)
    bring_into_service()
    return tier


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_examples_are_short_and_need_nothing_but_python(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 40
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= sys.stdlib_module_names


def test_buying_prints_the_credential_and_buys_once(run: Run, pooled: Tier, acme: Tenant) -> None:
    first, second = run("buy_key", "free", "Shop"), run("buy_key", "free", "Shop")
    assert first.returncode == second.returncode == 0, first.stderr
    bought = ApiKey.objects.get()
    assert (bought.name, bought.tenant) == ("Shop", acme)
    assert first.stdout == second.stdout
    assert first.stdout.strip().endswith(bought.gateway_key.last_four)
    assert "is ready at http" in first.stderr
    run("buy_key", "free", "Other")
    assert ApiKey.objects.count() == 2


def test_buying_waits_until_the_key_is_ready(live_server: LiveServer, run: Run, secret: str) -> None:
    make_tier(slug="own")
    process = start("buy_key", "own", "Shop", url=live_server.url, secret=secret)
    wait_until(ApiKey.objects.exists, what="a purchase")
    assert process.poll() is None
    bring_into_service()
    assert finish(process).returncode == 0


def test_refusal_is_told_in_the_portals_words(run: Run, pooled: Tier) -> None:
    missing = run("buy_key", "nothing", "Shop")
    assert missing.returncode == 1
    assert missing.stderr.startswith("400: There is no tier “nothing”.")
    Token.objects.update(revoked_at=datetime.now(UTC))
    assert run("buy_key", "free", "Shop").stderr.startswith("401: The token was revoked.")
    assert not ApiKey.objects.exists()


def test_rotation_hands_the_credential_to_a_command_and_keeps_the_old_one(run: Run, acme: Tenant, tmp_path: Path) -> None:
    api_key = buy(acme, make_tier(slug="own"))
    bring_into_service()
    target = tmp_path / "credential"
    failing = run("rotate_with_grace", str(api_key.pk), "3600", sys.executable, "-c", "raise SystemExit(3)")
    assert (failing.returncode, "failed with 3" in failing.stderr) == (1, True)
    command = [sys.executable, "-c", f"import sys; open({str(target)!r}, 'w').write(sys.stdin.read())"]
    again = run("rotate_with_grace", str(api_key.pk), "3600", *command)
    assert again.returncode == 0, again.stderr

    old, new = Credential.objects.order_by("created_at")
    assert new.gateway_key.last_four == target.read_text()[-4:]
    assert (new.ends_at, len(target.read_text())) == (None, 52)
    assert old.ends_at is not None
    assert 3500 < (old.ends_at - new.created_at).total_seconds() <= 3600
    assert target.read_text() not in again.stdout + again.stderr


def test_watching_usage_warns_of_keys_near_their_quota(run: Run, acme: Tenant) -> None:
    keys = [buy(acme, make_tier(slug=f"own-{number}", quota_limit=1000), name=f"Shop {number}") for number in range(3)]
    for key, used in zip(keys, (100, 800, 1000), strict=True):
        UsageDay.objects.create(
            gateway_key=key.gateway_key, date=datetime.now(UTC).date(), used=used, remaining=1000 - used, read_at=datetime.now(UTC)
        )
    warned = run("watch_usage", "80")
    assert warned.returncode == 1, warned.stderr
    assert [line.partition(",")[0] for line in warned.stdout.splitlines()] == ["Shop 2: 1000 of 1000 (100 %)", "Shop 1: 800 of 1000 (80 %)"]
    calm = run("watch_usage", "101")
    assert (calm.returncode, calm.stdout) == (0, "")


def test_export_holds_every_key_and_no_credential(run: Run, pooled: Tier, acme: Tenant, outsiders: Tenant, tmp_path: Path) -> None:
    bought = [buy(acme, pooled, name=f"Shop {number}, Zürich") for number in range(130)]
    buy(outsiders, pooled, name="Theirs")
    target = tmp_path / "keys.csv"
    target.write_text("yesterday's")
    done = run("nightly_export", str(target))
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert [row["id"] for row in rows] == [str(key.pk) for key in sorted(bought, key=lambda key: (key.created_at, key.pk), reverse=True)]
    assert {row["status"] for row in rows} == {"ready"}
    assert rows[0]["name"] == "Shop 129, Zürich"
    assert "tgk" not in target.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["keys.csv"]


def test_failed_export_leaves_the_old_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "keys.csv"
    target.write_text("yesterday's")
    Token.objects.update(scopes=["tenant:read"])
    assert run("nightly_export", str(target)).returncode == 1
    assert target.read_text() == "yesterday's"


def test_onboarding_buys_a_key_a_row_once(run: Run, pooled: Tier, tmp_path: Path) -> None:
    customers, out = tmp_path / "customers.csv", tmp_path / "credentials.csv"
    out.touch(0o644)
    rows = [f"{'free' if number != 7 else 'nothing'},Customer {number},From a list" for number in range(520)]
    customers.write_text("tier,name,description\n" + "\n".join(rows))
    for _ in range(2):
        done = run("bulk_onboarding", str(customers), str(out))
        assert (done.returncode, "Refused: 1." in done.stderr) == (1, True), done.stderr
    assert ApiKey.objects.count() == 519
    written = list(csv.reader(io.StringIO(out.read_text())))
    assert len(written) == 520
    assert [row[0] for row in written[:2]] == ["Customer 0", "Customer 1"]
    assert {len(row[2]) for row in written} == {52, 0}
    assert written[7][3]
    assert out.stat().st_mode & 0o077 == 0

    mended, rest = tmp_path / "mended.csv", tmp_path / "rest.csv"
    refused = Path(f"{out}.refused").read_text()
    assert refused.splitlines() == ["tier,name,description", "nothing,Customer 7,From a list"]
    mended.write_text(refused.replace("nothing", "free"))
    assert run("bulk_onboarding", str(mended), str(rest)).returncode == 0
    assert ApiKey.objects.count() == 520
    assert Path(f"{rest}.refused").read_text().splitlines() == ["tier,name,description"]


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.stem != "receive_webhooks"], ids=lambda path: path.stem)
def test_examples_say_how_they_are_called(path: Path) -> None:
    asked = finish(start(path.stem, url="http://nobody.invalid", secret="none"))
    assert (asked.returncode, asked.stdout) == (1, "")
    assert f"{path.name} " in asked.stderr
    assert "Traceback" not in asked.stderr


def test_rotation_changes_nothing_when_there_is_no_such_command(run: Run, acme: Tenant) -> None:
    api_key = buy(acme, make_tier(slug="own"))
    bring_into_service()
    asked = run("rotate_with_grace", str(api_key.pk), "3600", "no-such-command")
    assert (asked.returncode, "COMMAND" in asked.stderr) == (1, True)
    assert Credential.objects.count() == 1


class Shaky(BaseHTTPRequestHandler):
    """Answers 429, then breaks off, then answers 503; then all is well."""

    seen: list[tuple[str, str | None]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'{"id": "1", "credential": "tgk-secret", "endpoint": "http://here"}')

    def do_GET(self) -> None:
        self._answer(b'{"status": "ready"}')

    def _answer(self, body: bytes) -> None:
        self.seen.append((self.command, self.headers["Idempotency-Key"]))
        turn = len(self.seen)
        if turn == 2:
            self.connection.close()
            return
        self.send_response({1: 429, 3: 503}.get(turn, 200))
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def shaky() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    seen: list[tuple[str, str | None]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Shaky,), {"seen": seen}))
    server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]  # the connection that broke off
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_examples_ask_again_with_the_same_key(shaky: Any) -> None:
    url, seen = shaky
    done = finish(start("buy_key", "free", "Shop", url=url, secret="tgp-x"))
    assert (done.returncode, done.stdout) == (0, "tgk-secret\n"), done.stderr
    assert [method for method, _key in seen] == ["POST"] * 4 + ["GET"]
    assert len({key for method, key in seen if method == "POST"}) == 1
    assert seen[0][1]
