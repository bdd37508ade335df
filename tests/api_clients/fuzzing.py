"""Schemathesis against the REST API, in this process: every operation as each of four identities, with all its checks.

``python -m tests.api_clients.fuzzing --cases 20000 --seed 7`` (``make fuzz``) plays as long as it takes; test_fuzz.py plays a short
round. What schemathesis cannot know is checked here beside it: what one identity may never get, and that nothing but JSON comes out.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import random
import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest import mock

import django
import schemathesis

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()

from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from django.test.runner import DiscoverRunner
from django.test.utils import setup_test_environment
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.transport.wsgi import WSGITransport

from tests.api_clients.world import MARK, World, make_world
from tests.support.description import description

IDENTITIES = ("owner", "other", "read-only", "staff")
REFILL_EVERY = 150
_CURSOR = re.compile(r"[A-Za-z0-9_-]{1,200}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What no schema can say: fields whose right form is not enough, by operation ("": in each). A 400 that names these alone is no failure.
MEANING = {
    ("", "cursor"): "was made here",
    ("", "tier"): "names a tier that exists",
    ("", "from"): "comes before `to`, by a year at most",
    **{("staff_create_tier", name): "quota and period, both or neither" for name in ("quota_limit", "quota_period")},
    ("staff_create_tier", "pool_size"): "for pooled tiers, and for them alone",
    ("staff_create_tier", "spare_target"): "for siloed tiers alone",
    ("staff_create_tier", "stages"): "ids of stages",
    ("staff_change_tier", "stages"): "ids of stages",
    **{(operation, "tiers"): "wishes that a plan can fulfil" for operation in ("staff_plan_tiers", "staff_apply_tier_plan")},
    ("staff_register_stage", "invoke_url"): "with a host that a name server could know",
    ("staff_change_stage", "invoke_url"): "with a host that a name server could know",
    ("staff_ask_for_adoption", "gateway"): "id of a gateway",
    ("staff_confirm_adoption", "plans"): "ids of usage plans and keys that were found, tiers and tenants that fit",
    ("staff_preview_adoption", "plans"): "ids of usage plans and keys that were found, tiers and tenants that fit",
    ("register_webhook", "url"): "begins with https:// and leads to a public address",
    ("change_webhook", "url"): "begins with https:// and leads to a public address",
    ("staff_find_key", "credential"): "has the right checksum",
    ("make_token", "scopes"): "only scopes that the maker has",
    ("make_token", "expires_at"): "lies ahead, and not too far",
}


@dataclass
class Totals:
    """What was sent, and what went wrong."""

    seed: int
    cases: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Totals) -> None:
        self.cases.update(other.cases)
        self.statuses.update(other.statuses)
        self.failures += other.failures

    @property
    def count(self) -> int:
        return sum(self.cases.values())

    def table(self) -> str:
        """Cases by operation and identity, statuses by identity."""
        operations = sorted({operation for operation, _identity in self.cases})
        lines = [f"{'operation':50}" + "".join(f"{identity:>11}" for identity in IDENTITIES)]
        lines += [f"{each:50}" + "".join(f"{self.cases[each, identity]:>11}" for identity in IDENTITIES) for each in operations]
        for identity in IDENTITIES:
            seen = {status: number for (who, status), number in sorted(self.statuses.items()) if who == identity}
            lines.append(f"{identity}: " + ", ".join(f"{status} x {number}" for status, number in seen.items()))
        return "\n".join([*lines, f"{self.count} cases, {len(self.failures)} failures, seed {self.seed}"])


class Guard:
    """A WSGI application around ours, for one identity: looks at every answer, and keeps the world alive."""

    def __init__(self, identity: str, world: World, totals: Totals) -> None:
        self.identity, self.world, self.totals = identity, world, totals
        self.application = get_wsgi_application()
        self.calls = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.calls += 1
        if self.calls % REFILL_EVERY == 0:
            self.world.refill()
        told: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            told[:] = [int(status.split(maxsplit=1)[0]), dict(headers)]
            return start_response(status, headers, *rest)

        answer = self.application(environ, start)
        body = b"".join(answer)
        answer.close()
        self._look(environ, told[0], told[1], body)
        if environ["REQUEST_METHOD"] == "DELETE" or environ["PATH_INFO"].endswith("/suspend"):
            self.world.refill()
        return [body]

    def _look(self, environ: dict[str, Any], status: int, headers: dict[str, str], body: bytes) -> None:
        self.totals.statuses[self.identity, status] += 1
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        is_ours = environ.get("HTTP_AUTHORIZATION") == f"Bearer {self.world.tokens[self.identity]}"
        wrong = []
        if status >= 500:
            wrong.append("server error")
        kind = headers.get("Content-Type", "")
        if body and kind not in {"application/json", "application/problem+json"}:
            wrong.append(f"neither JSON nor a problem: {kind}")
        if (status >= 400) != (kind == "application/problem+json") and method != "HEAD" and body:
            wrong.append(f"{kind} with {status}")
        if status < 400 and not is_ours:
            wrong.append("answered without the right token")
        if status < 400 and self.identity == "read-only" and method not in {"GET", "HEAD"}:
            wrong.append("changed something with a token for reading")
        if status < 400 and (self.identity == "staff") != path.startswith("/api/v1/staff/"):
            wrong.append("crossed the line between staff and tenants")
        if self.identity == "other" and MARK.encode() in body and MARK not in _sent(environ):
            wrong.append("told another tenant of Acme")
        self.totals.failures += [f"{self.identity}: {method} {path}: {each}: {body[:300]!r}" for each in wrong]


def _sent(environ: dict[str, Any]) -> str:
    return f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"


def _description() -> dict[str, Any]:
    """The description, read strictly: no answer has a property that it does not name."""
    described = description()
    for name, schema in described["components"]["schemas"].items():
        if "properties" in schema and name not in {"Problem"}:
            schema.setdefault("additionalProperties", False)
    return described


def _config(seed: int, token: str, *, examples: int, coverage: bool, stateful: int) -> SchemathesisConfig:
    statuses = {"positive_data_acceptance": ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429"]}
    statuses["negative_data_rejection"] = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "429"]
    phases = {
        "examples": {"enabled": True},
        "coverage": {"enabled": coverage},
        "fuzzing": {"enabled": True, "generation": {"max-examples": examples}},
        "stateful": {"enabled": stateful > 0, "generation": {"max-examples": max(1, stateful)}},
    }
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": "http://localhost/api/v1",
            "auth": {"openapi": {"token": {"bearer": token}}},
            "generation": {"no-shrink": True, "database": "none"},
            "checks": {name: {"expected-statuses": listed} for name, listed in statuses.items()},
            "phases": phases,
            "suppress-health-check": ["all"],
        }
    )


def _aim(schema: Any, world: World) -> None:
    """Hooks of schemathesis: what is well formed shall often mean something too."""
    schema.hook("map_query")(lambda _context, query: _aimed_query(world, query or {}))
    schema.hook("map_path_parameters")(lambda context, given: _aimed_path(world, context.operation.path, given or {}))
    schema.hook("map_body")(lambda _context, body: _aimed_body(world, body))
    schema.hook("filter_failure")(lambda _context, failure, case, response: _is_failure(failure, case, response))


def _aimed_query(world: World, query: dict[str, Any]) -> dict[str, Any]:
    """Two tiers of three exist, and every other cursor goes on from somewhere."""
    cursor, tier = query.get("cursor"), query.get("tier")
    if isinstance(tier, str) and len(tier) % 3:
        query = {**query, "tier": world.slugs[len(tier) % len(world.slugs)]}
    if isinstance(cursor, str) and _CURSOR.fullmatch(cursor) and len(cursor) % 2:
        size = len(cursor)
        place = [("n", "p")[size // 2 % 2], 1_795_000_000_000_000 + size * 10**13, str(uuid.UUID(int=size << 120))]
        query = {**query, "cursor": base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")}
    return query


def _aimed_path(world: World, path: str, given: dict[str, Any]) -> dict[str, Any]:
    """Every other id is the id of something; for tenants, of something that is Acme's."""
    known, text = world.ids.get(path.partition("/{")[0].strip("/"), []), given.get("id")
    if known and isinstance(text, str) and _UUID.fullmatch(text) and uuid.UUID(text).int % 2:
        return {**given, "id": known[uuid.UUID(text).int // 2 % len(known)]}
    if known and isinstance(text, int) and text % 2:
        return {**given, "id": known[text // 2 % len(known)]}
    return given


def _aimed_body(world: World, body: Any) -> Any:
    """Tiers that are named exist, tokens end in the future, and two URLs of three are some."""
    if not isinstance(body, dict):
        return body
    tier, ends, items, url = body.get("tier"), body.get("expires_at"), body.get("items"), body.get("url")
    if isinstance(url, str) and len(url) % 3 and len(url) < 100:
        body = {**body, "url": f"https://example.com/{uuid.uuid5(uuid.NAMESPACE_URL, url)}"}
    if isinstance(tier, str) and tier.strip() and len(tier) <= 40 and "\0" not in tier:
        body = {**body, "tier": world.slugs[len(tier) % len(world.slugs)]}
    if isinstance(ends, str) and _is_moment(ends):
        body = {**body, "expires_at": f"2027{ends[4:]}".replace("02-29", "02-28")}
    if isinstance(body.get("stages"), list) and len(body["stages"]) == 1 and _UUID.fullmatch(str(body["stages"][0])):
        body = {**body, "stages": world.ids["staff/stages"][:1]}
    if isinstance(body.get("gateway"), str) and len(body) == 1 and _UUID.fullmatch(body["gateway"]):
        body = {"gateway": world.ids["staff/gateways"][0]}
    if isinstance(items, list):
        body = {**body, "items": [_aimed_body(world, item) for item in items]}
    return body


def _is_failure(failure: Any, case: Any, response: Any) -> bool:
    """False for what was refused for its meaning alone."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    named = {error["field"].partition(".")[0] for error in response.json().get("errors", [])}
    operation = case.operation.definition.raw["operationId"]
    return not named or any((operation, name) not in MEANING and ("", name) not in MEANING for name in named)


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.upper()).tzinfo is not None
    except ValueError:
        return False


def play(world: World, *, seed: int, examples: int, coverage: bool, stateful: int, identities: Iterable[str] = IDENTITIES) -> Totals:
    """One round: ``examples`` cases an operation and identity beside the fixed ones, and ``stateful`` walks along the links."""
    totals = Totals(seed=seed)
    limits = {
        "API_REQUESTS_PER_MINUTE": 1_000_000,
        "API_SECRETS_PER_MINUTE": 1_000_000,
        "API_SWITCHES_PER_MINUTE": 1_000_000,
        "API_SENDS_PER_MINUTE": 1_000_000,
    }
    with ExitStack() as stack:
        stack.enter_context(override_settings(**limits))
        stack.enter_context(mock.patch("tenants.api.authentication.MOST_FAILURES", "1000000/m"))
        stack.enter_context(mock.patch.object(WSGITransport, "send", _send))
        for number, identity in enumerate(identities):
            world.refill()
            config = _config(seed + number, world.tokens[identity], examples=examples, coverage=coverage, stateful=stateful)
            schema = schemathesis.openapi.from_dict(_description(), config=config)
            schema.app = Guard(identity, world, totals)
            _aim(schema, world)
            for event in from_schema(schema).execute():
                _note(event, identity, totals)
    return totals


_send_in_process = WSGITransport.send


def _send(transport: Any, case: Any, **options: Any) -> Any:
    """Probes of schemathesis name options of real connections, over which its own transport for WSGI stumbles."""
    own = {name: value for name, value in options.items() if name not in {"allow_redirects", "cert", "max_redirects", "proxies", "verify"}}
    return _send_in_process(transport, case, **own)


def _note(event: Any, identity: str, totals: Totals) -> None:
    if isinstance(event, events.ScenarioFinished):
        recorder = event.recorder
        for case_id in recorder.interactions:
            totals.cases[recorder.cases[case_id].value.operation.label, identity] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                failure, answer = check.failure_info.failure, recorder.interactions[case_id].response
                told = f"{answer.status_code} {answer.content[:500]!r}" if answer else "no answer"
                totals.failures.append(
                    f"{identity}: {event.phase.value}: {check.name}: {failure.title}: {failure.message}\n"
                    f"  {check.failure_info.code_sample[:1500]}\n  -> {told}"
                )
    elif isinstance(event, events.NonFatalError):
        totals.failures.append(f"{identity}: {event.label}: {event.value!r}")
    elif isinstance(event, events.FatalError):
        raise event.exception


def summary(totals: Totals, most: int = 20) -> str:
    """The failures, each kind once."""
    kinds: dict[str, str] = {}
    for failure in totals.failures:
        kinds.setdefault(_UUID.sub("", failure.partition("\n")[0]), failure)
    return "\n\n".join(list(kinds.values())[:most]) + f"\n\n{len(kinds)} kinds; seed {totals.seed}"


def main(arguments: list[str] | None = None) -> int:
    """Rounds until so many cases were played; 1 where something is wrong. On the database that TEST_DATABASE_URL names, else SQLite."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier round, to play it again")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"seed {seed}", flush=True)
    setup_test_environment()
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    totals = Totals(seed=seed)
    try:
        world, number = make_world(), 0
        while totals.count < options.cases and not totals.failures:
            # The fixed cases (coverage) are the same each time: once is enough.
            totals.add(play(world, seed=seed + 10 * number, examples=15, coverage=number == 0, stateful=25))
            number += 1
            print(f"{totals.count} cases, {len(totals.failures)} failures", flush=True)
    finally:
        runner.teardown_databases(databases)
    print(totals.table())
    if totals.failures:
        print(summary(totals))
    return 1 if totals.failures else 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main())
