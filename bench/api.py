"""The REST API over HTTP: what a token costs, how lists keep their pace, and buying beside an endpoint that does nothing.

    python -m bench.api [--seconds 3] [--rounds 3] [--keys 100000 1000000] [--only tokens lists buying]

Needs PostgreSQL and wrk. Rounds are interleaved and the medians shown, each beside its limit and its plain version of the same round.
"""

import argparse
import base64
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")

import django

django.setup()

import orjson
from django.db import connection
from rest_framework_api_key.models import APIKey

from bench.database import throwaway_database
from keys.models import ApiKey, Tier
from keys.services import catalog, gateways
from tenants.audit import SYSTEM
from tenants.models import Membership, Role, Tenant, User
from tenants.rights import scopes_in_tenant
from tenants.services.tokens import make_token

CONNECTIONS = 16
LUA = """
local tokens = {}
for line in io.lines("%(tokens)s") do tokens[#tokens + 1] = line end
math.randomseed(%(seed)d)
local method, path, body, once = "%(method)s", "%(path)s", '%(body)s', %(once)s
request = function()
  local headers = { Authorization = tokens[math.random(#tokens)] }
  if method == "GET" then return wrk.format(method, path, headers) end
  headers["Content-Type"] = "application/json"
  if once then headers["Idempotency-Key"] = string.format("%%x-%%x-%%x", math.random(2^31), math.random(2^31), math.random(2^31)) end
  return wrk.format(method, path, headers, body)
end
done = function(summary, latency, requests)
  print(string.format("RESULT %%d %%d %%d", latency:percentile(50), latency:percentile(99), summary.errors.status))
end
"""


@dataclass(frozen=True)
class Target:
    """What is asked, of which server ("strict" or "cached"), by whom (a file of Authorization headers)."""

    name: str
    path: str
    who: Path
    server: str = "strict"
    method: str = "GET"
    body: str = "{}"
    once: bool = False


@dataclass(frozen=True)
class Figure:
    """Requests a second, and milliseconds of the median and the slowest hundredth."""

    rate: float
    p50: float
    p99: float


def wrk(base: str, target: Target, *, connections: int, seconds: int) -> Figure:
    """Fails when an answer was no 2xx."""
    for _ in range(4):  # what the last turn left in the server's queue is not this one's to wait for
        urllib.request.urlopen(f"{base}/healthz", timeout=60).read()  # noqa: S310 - our own server
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        values = {"tokens": target.who, "seed": time.time_ns() % 10**9, "method": target.method, "path": target.path, "body": target.body}
        script.write(LUA % {**values, "once": str(target.once).lower()})
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, base]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    rate, result = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"RESULT (\d+) (\d+) (\d+)", text)
    assert rate, text
    assert result, text
    assert result.group(3) == "0", f"{target.name}: {text}"
    return Figure(float(rate.group(1)), int(result.group(1)) / 1000, int(result.group(2)) / 1000)


@contextmanager
def serve(port: int, **environment: str) -> Iterator[str]:
    """The portal as in production: granian, one process, on the run's database."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--blocking-threads", "4", "--no-access-log", "--log-level", "error", "portal.wsgi:application"]  # fmt: skip
    server = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).read()
                break
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline:
                    raise SystemExit("The portal did not start.") from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(15)


class World:
    """A tier, and tenants with tokens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        gateway = gateways.register_gateway(name="Bench", account_id="0" * 12, region="us-east-1", actor=SYSTEM)
        stage = gateways.register_stage(gateway=gateway, rest_api_id="api", name="v1", invoke_url="http://127.0.0.1/v1", actor=SYSTEM)
        self.tier: Tier = catalog.create_tier(
            slug="bench", name="Bench", description="", position=1, price_minor=0, currency="USD", isolation="pooled",
            throttle_rate=10, throttle_burst=5, quota_limit=2000, quota_period="DAY", max_api_keys=10**6, spare_target=0,
            pool_size=1000, stages=[stage], actor=SYSTEM,
        )  # fmt: skip

    def tenant(self, name: str, count: int = 1) -> tuple[Tenant, Path]:
        """Tenants with a token each: the last of them, and a file of Authorization headers."""
        lines = []
        for number in range(count):
            user = User.objects.create(email=f"{name}{number}@example.com", password="!")
            tenant = Tenant.objects.create(name=name)
            Membership.objects.create(user=user, tenant=tenant, role=Role.OWNER)
            within = scopes_in_tenant(Role.OWNER)
            _row, secret = make_token(user=user, tenant=tenant, name="Bench", scopes=within, expires_at=None, within=within, actor=SYSTEM)
            lines.append(f"Bearer {secret}")
        return tenant, self.file(name, lines)

    def library_key(self) -> Path:
        _row, secret = APIKey.objects.create_key(name="Bench")
        return self.file("library", [f"Api-Key {secret}"])

    def file(self, name: str, lines: list[str]) -> Path:
        path = self.folder / name
        path.write_text("\n".join(lines))
        return path

    def fill(self, tenant: Tenant, count: int) -> None:
        """So many keys of one tenant, spread over the pool, one a second, as a COPY would bring them."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO keys_apikey (id, tenant_id, tier_id, gateway_key_id, slot, name, description, purchase_token,
                                         awaits_ready, created_at)
                SELECT gen_random_uuid(), %s, %s, pool.id, 1000000000 + %s + n / 1000, 'Key ' || n, '', gen_random_uuid(), false,
                       now() - n * interval '1 second'
                FROM generate_series(0, %s) AS n
                JOIN (SELECT id, row_number() OVER () - 1 AS place FROM keys_gatewaykey) AS pool ON pool.place = n %% 1000
                """,
                [tenant.pk, self.tier.pk, count * 1000, count - 1],
            )
            cursor.execute("VACUUM ANALYZE keys_apikey")
            cursor.execute("CHECKPOINT")  # what is still to be written would weigh on the first figures


def cursor_of(tenant: Tenant, place: int) -> tuple[str, str]:
    """Cursors of ours and of REST framework's that go on after the row at ``place``."""
    at, pk = ApiKey.objects.filter(tenant=tenant).order_by("-created_at", "-pk").values_list("created_at", "pk")[place]
    ours = base64.urlsafe_b64encode(orjson.dumps(["n", int(at.timestamp()) * 10**6 + at.microsecond, str(pk)])).decode().rstrip("=")
    theirs = base64.b64encode(urlencode({"p": str(at)}).encode()).decode()
    return ours, urlencode({"cursor": theirs})


def measure(targets: list[Target], servers: dict[str, str], options: argparse.Namespace) -> dict[str, list[Figure]]:
    """All targets in turn, so many rounds; after a short turn that nobody counts."""
    for target in targets:
        wrk(servers[target.server], target, connections=4, seconds=1)
    figures: dict[str, list[Figure]] = {target.name: [] for target in targets}
    for _round in range(options.rounds):
        for target in targets:
            figures[target.name].append(wrk(servers[target.server], target, connections=options.connections, seconds=options.seconds))
    return figures


def ratio(figures: dict[str, list[Figure]], name: str, other: str) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one.rate / two.rate for one, two in zip(figures[name], figures[other], strict=True))


def table(title: str, figures: dict[str, list[Figure]], base: str) -> None:
    print(f"\n{title:<44}{'a second':>10}{'x base':>8}{'p50 ms':>9}{'p99 ms':>9}")
    for name, rounds in figures.items():
        rate, p50, p99 = (statistics.median(getattr(each, part) for each in rounds) for part in ("rate", "p50", "p99"))
        print(f"{name:<44}{rate:>10,.0f}{ratio(figures, name, base):>8.2f}{p50:>9.1f}{p99:>9.1f}")


def tokens(world: World, servers: dict[str, str], options: argparse.Namespace) -> None:
    _tenant, mine = world.tenant("tokens", 10)
    targets = [
        Target("no authentication", "/bench/api/open", mine, server="cached"),
        Target("token, strict", "/bench/api/checked", mine),
        Target("token, cached for 2 s", "/bench/api/checked", mine, server="cached"),
        Target("djangorestframework-api-key", "/bench/api/library", world.library_key()),
    ]
    figures = measure(targets, servers, options)
    table("Token check, same view", figures, "no authentication")
    strict = ratio(figures, "token, strict", "djangorestframework-api-key")
    cached = ratio(figures, "token, cached for 2 s", "no authentication")
    print(f"strict / library: {strict:.2f} (goal 1.30); cached / none: {cached:.2f} (goal 0.90)")


def lists(world: World, servers: dict[str, str], options: argparse.Namespace) -> None:
    for count in options.keys:
        tenant, mine = world.tenant(f"lists{count}")
        started = time.monotonic()
        world.fill(tenant, count)
        print(f"\n{count:,} keys of one tenant, made in {time.monotonic() - started:.0f} s")
        deep = count * 99 // 100
        ours, theirs = cursor_of(tenant, deep)
        offset = f"LimitOffset at row {min(deep, 99_000):,}"
        targets = [
            Target("first page", "/api/v1/keys?limit=50", mine),
            Target("deep page", f"/api/v1/keys?limit=50&cursor={ours}", mine),
            Target("REST framework's cursor, first", "/bench/api/cursor", mine),
            Target("REST framework's cursor, deep", f"/bench/api/cursor?{theirs}", mine),
            Target(offset, f"/bench/api/offset?offset={min(deep, 99_000)}", mine),
        ]
        figures = measure(targets, servers, options)
        table(f"Lists of {count:,} keys, 50 a page", figures, "first page")
        cursors = ratio(figures, "deep page", "REST framework's cursor, deep")
        goals = (
            f"deep / first: {ratio(figures, 'deep page', 'first page'):.2f} (goal 0.85); deep / REST framework's: {cursors:.2f} (goal 2.5)"
        )
        print(f"{goals}; deep / offset: {ratio(figures, 'deep page', offset):.1f} (goal 15)")
        explain(tenant, deep)


def explain(tenant: Tenant, place: int) -> None:
    """How PostgreSQL finds a deep page."""
    from django.db.models import F
    from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan

    rows = ApiKey.objects.filter(tenant=tenant).order_by("-created_at", "-pk")
    last = rows.values_list("created_at", "pk")[place]
    page = rows.filter(TupleLessThan(Tuple(F("created_at"), F("pk")), last))[:51]
    print(page.values_list("pk", "name").explain(analyze=True, costs=False, timing=False))


def buying(world: World, servers: dict[str, str], options: argparse.Namespace) -> None:
    _tenant, mine = world.tenant("buyers", 300)
    body = '{"tier": "bench", "name": "Shop"}'
    targets = [
        Target("empty endpoint, GET", "/bench/api/empty", mine),
        Target("empty endpoint, POST", "/bench/api/empty", mine, method="POST", body=body),
        Target("buy a pooled key", "/api/v1/keys", mine, method="POST", body=body),
        Target("buy a pooled key, with Idempotency-Key", "/api/v1/keys", mine, method="POST", body=body, once=True),
    ]
    figures = measure(targets, servers, options)
    table("Buying over the API", figures, "empty endpoint, POST")
    alone = {target.name: wrk(servers["strict"], target, connections=1, seconds=max(2, options.seconds // 2)) for target in targets}
    for name, figure in alone.items():
        print(f"alone: {name:<40} p50 {figure.p50:.1f} ms, p99 {figure.p99:.1f} ms")


PARTS = {"tokens": tokens, "lists": lists, "buying": buying}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--keys", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--port", type=int, default=8785)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    with throwaway_database(), tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with serve(options.port) as strict, serve(options.port + 1, API_TOKEN_CACHE_SECONDS="2") as cached:
            for name in options.only:
                PARTS[name](world, {"strict": strict, "cached": cached}, options)


if __name__ == "__main__":
    main()
