"""Pages and purchases of the portal over HTTP beside an empty page of a signed-in person, in one run.

    python -m bench.pages [--seconds 8] [--tenants 1000] [--keys 20] [--placed 20000]

Needs PostgreSQL and wrk. Rounds are interleaved and the medians shown, each as a share of the empty page of its own round.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")

import django

django.setup()

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore

from bench.database import throwaway_database
from keys.models import ApiKey, Credential, Tier
from keys.models.tickets import take_place
from keys.services import catalog, gateways
from tenants.audit import SYSTEM
from tenants.models import Membership, Role, Tenant, User

CSRF = "b" * 32
LUA = """
local cookies = {}
for line in io.lines("%(cookies)s") do cookies[#cookies + 1] = line end
math.randomseed(%(seed)d)
local method, path = "%(method)s", "%(path)s"
local function token()
  return string.format("%%08x-%%04x-4%%03x-8%%03x-%%012x", math.random(0, 0x7fffffff), math.random(0, 0xffff), math.random(0, 0xfff),
    math.random(0, 0xfff), math.random(0, 0x7fffffff))
end
request = function()
  local headers = { Cookie = cookies[math.random(#cookies)] }
  if method == "GET" then return wrk.format(method, path, headers) end
  headers["Content-Type"] = "application/x-www-form-urlencoded"
  return wrk.format(method, path, headers, "csrfmiddlewaretoken=%(csrf)s&name=Shop&description=&purchase_token=" .. token())
end
done = function(summary, latency, requests)
  print(string.format("RESULT %%d %%d %%d", latency:percentile(50), latency:percentile(99), summary.errors.status))
end
"""


def seed(*, tenants: int, keys: int, placed: int) -> list[str]:
    """Tenants with sessions, each with a few keys; ``placed`` more keys in the pool; cookies, a line a tenant."""
    gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", actor=SYSTEM)
    stage = gateways.register_stage(gateway=gateway, rest_api_id="api", name="v1", invoke_url="http://127.0.0.1/v1", actor=SYSTEM)
    tier = catalog.create_tier(
        slug="bench", name="Bench", description="", position=1, price_minor=0, currency="USD", isolation="pooled",
        throttle_rate=10, throttle_burst=5, quota_limit=2000, quota_period="DAY", max_api_keys=10**6, spare_target=0,
        pool_size=1000, stages=[stage], actor=SYSTEM,
    )  # fmt: skip
    cookies, owners = [], []
    for number in range(tenants):
        user = User.objects.create(email=f"bench{number}@example.com", password="!")
        tenant = Tenant.objects.create(name=f"Bench {number}")
        Membership.objects.create(user=user, tenant=tenant, role=Role.OWNER)
        session = SessionStore()
        session.update({"_auth_user_id": str(user.pk), "_auth_user_backend": settings.AUTHENTICATION_BACKENDS[0]})
        session["_auth_user_hash"] = user.get_session_auth_hash()
        session.save()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}; {settings.CSRF_COOKIE_NAME}={CSRF}")
        owners.append(tenant)
    _place(tier, owners[: max(1, tenants // 10)], keys)
    crowd = Tenant.objects.create(name="Everybody else")
    _place(tier, [crowd], placed)
    return cookies


def _place(tier: Tier, tenants: list[Tenant], count: int) -> None:
    rows = []
    for tenant in tenants:
        for number in range(count):
            place = take_place(tier.pk)
            assert place
            rows.append(ApiKey(tenant=tenant, tier=tier, gateway_key_id=place[0], slot=place[1], name=f"Key {number}"))
    ApiKey.objects.bulk_create(rows, batch_size=2000)
    Credential.objects.bulk_create([Credential(api_key=row, gateway_key_id=row.gateway_key_id) for row in rows], batch_size=2000)


def wrk(base: str, method: str, path: str, *, cookies: Path, connections: int, seconds: int) -> tuple[float, float, float]:
    """Requests a second, p50 and p99 in ms. Fails when an answer was no 2xx or 3xx."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % {"cookies": cookies, "seed": time.time_ns() % 10**9, "method": method, "path": path, "csrf": CSRF})
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, base]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    result = re.search(r"RESULT (\d+) (\d+) (\d+)", text)
    assert rate, text
    assert result, text
    assert result.group(3) == "0", f"{method} {path}: {text}"
    return float(rate.group(1)), int(result.group(1)) / 1000, int(result.group(2)) / 1000


def serve(port: int) -> subprocess.Popen[bytes]:
    """The portal as in production: granian, one process, on the run's database."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--blocking-threads", "4", "--no-access-log", "--log-level", "error", "portal.wsgi:application"]  # fmt: skip
    server = subprocess.Popen(command)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return server
    server.kill()
    raise SystemExit("The portal did not start.")


TARGETS = [
    ("hello (/healthz, no session)", "GET", "/healthz"),
    ("empty page, signed in", "GET", "/bench/empty/"),
    ("tiers, signed in", "GET", "/tiers/"),
    ("keys, 20 rows", "GET", "/keys/"),
    ("keys, written plainly", "GET", "/bench/list/"),
    ("buy a pooled key", "POST", "/keys/buy/bench/"),
    ("buy, written plainly", "POST", "/bench/buy/"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--placed", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    with throwaway_database(), tempfile.TemporaryDirectory() as folder:
        lines = seed(tenants=options.tenants, keys=options.keys, placed=options.placed)
        with_keys, without = Path(folder, "with-keys"), Path(folder, "without")
        with_keys.write_text("\n".join(lines[: len(lines) // 10]))
        without.write_text("\n".join(lines[len(lines) // 10 :]))
        server = serve(options.port)
        try:
            report(f"http://127.0.0.1:{options.port}", options, with_keys, without)
        finally:
            server.terminate()
            server.wait(15)


def report(base: str, options: argparse.Namespace, with_keys: Path, without: Path) -> None:
    shares: dict[str, list[tuple[float, float]]] = {name: [] for name, _method, _path in TARGETS}
    single: dict[str, tuple[float, float, float]] = {}
    for _round in range(options.rounds):
        rates = {}
        for name, method, path in TARGETS:
            cookies = without if method == "POST" else with_keys
            rates[name] = wrk(base, method, path, cookies=cookies, connections=8, seconds=options.seconds)[0]
        for name, rate in rates.items():
            shares[name].append((rate, rate / rates["empty page, signed in"]))
    for name, method, path in TARGETS:
        cookies = without if method == "POST" else with_keys
        single[name] = wrk(base, method, path, cookies=cookies, connections=1, seconds=max(2, options.seconds // 2))
    print(f"{'8 connections':<32}{'a second':>10}{'x empty':>9}   {'alone: p50 ms':>14}{'p99 ms':>8}")
    for name, rounds in shares.items():
        rate, share = statistics.median(r for r, _s in rounds), statistics.median(s for _r, s in rounds)
        print(f"{name:<32}{rate:>10,.0f}{share:>9.2f}   {single[name][1]:>14.1f}{single[name][2]:>8.1f}")
    print("goals: keys >= 0.50 x empty; buy >= 0.55 x empty and p50 <= 1.7 x; tiers >= 0.80 x hello")


if __name__ == "__main__":
    main()
