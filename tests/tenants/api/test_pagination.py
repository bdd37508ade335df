"""Lists that go on from a row: every row once, both ways, whatever comes and goes meanwhile; nothing is counted."""

from __future__ import annotations

import base64
import itertools
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.audit import Actor, record
from tenants.models import Membership, Tenant, Token, User
from tests.support.api import ApiClient
from tests.support.cast import make_member
from tests.tenants.api.test_authentication import slug

pytestmark = [pytest.mark.django_db, pytest.mark.flow]  # "flow": on both databases
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_numbers = itertools.count(1)


def make_rows(tenant: Tenant, user: User, moments: list[datetime]) -> list[str]:
    """Tokens that were made at those moments; their ids."""
    rows = [
        Token(tenant=tenant, user=user, name="x", prefix=f"x{next(_numbers)}", sha256="", scopes=[], created_at=moment)
        for moment in moments
    ]
    return [str(row.pk) for row in Token.objects.bulk_create(rows)]


def walk(api: ApiClient, path: str, *, link: str = "next", between: Callable[[], Any] = lambda: None) -> list[dict[str, Any]]:
    """Every row from ``path`` on, by following ``link``."""
    rows: list[dict[str, Any]] = []
    page = api.get(path).json()
    while True:
        rows += page["data"] if link == "next" else page["data"][::-1]
        if page[link] is None:
            return rows
        between()
        page = api.get(page[link]).json()


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def in_order() -> list[str]:
    return [str(pk) for pk in Token.objects.order_by("-created_at", "-pk").values_list("pk", flat=True)]


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 25, 100])
def test_walk_there_and_back(api: ApiClient, acme: Tenant, alice: User, limit: int) -> None:
    make_rows(acme, alice, [NOON + timedelta(minutes=number // 3) for number in range(20)])
    there = walk(api, f"/tokens?limit={limit}")
    assert ids(there) == in_order()

    page = api.get(f"/tokens?limit={limit}").json()
    while page["next"]:
        page = api.get(page["next"]).json()
    if page["previous"] is None:
        assert limit == 25 or limit == 100  # noqa: PLR1714 - one page holds all
        return
    back = walk(api, page["previous"], link="previous")
    assert ids(back)[::-1] + ids(page["data"]) == in_order()


def test_pages_meet_exactly(api: ApiClient, acme: Tenant, alice: User) -> None:
    make_rows(acme, alice, [NOON] * 8)  # nine with the token that asks
    first = api.get("/tokens?limit=3").json()
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()
    assert first["previous"] is None
    assert third["next"] is None
    assert [len(page["data"]) for page in (first, second, third)] == [3, 3, 3]
    assert api.get(second["previous"]).json()["data"] == first["data"]
    assert api.get(third["previous"]).json()["data"] == second["data"]
    assert api.get(second["previous"]).json()["previous"] is None


def test_empty_list(api: ApiClient) -> None:
    assert api.get("/audit-events?action=nothing.such").json() == {"data": [], "next": None, "previous": None}


def test_1000_rows_of_one_moment(api: ApiClient, acme: Tenant, alice: User) -> None:
    made = make_rows(acme, alice, [NOON] * 1000)
    found = ids(walk(api, "/tokens?limit=100"))
    assert len(found) == 1001
    assert set(made) <= set(found)
    assert found == in_order()


def test_whole_numbers_as_ids(api: ApiClient, acme: Tenant) -> None:
    for number in range(12):
        make_member(f"m{number}@example.com", acme)
    Membership.objects.update(created_at=NOON)
    found = ids(walk(api, "/members?limit=5"))
    assert found == [str(pk) for pk in Membership.objects.order_by("-pk").values_list("user_id", flat=True)]
    assert len(found) == 13


def test_links_keep_filters_and_limit(api: ApiClient, acme: Tenant, alice: User) -> None:
    for number in range(6):
        record(actor=Actor(user=alice, label=alice.email), action=f"thing.{number % 2}", target=acme, tenant=acme)
    page = api.get("/audit-events?limit=2&action=thing.1&created_after=2020-01-01T00:00:00%2B02:00").json()
    query = parse_qs(urlsplit(page["next"]).query)
    assert (query["limit"], query["action"], query["created_after"]) == (["2"], ["thing.1"], ["2020-01-01T00:00:00+02:00"])
    assert page["next"].startswith("http://localhost:8000/api/v1/audit-events?")
    rest = api.get(page["next"]).json()
    assert {event["action"] for event in page["data"] + rest["data"]} == {"thing.1"}
    assert (len(page["data"]), len(rest["data"]), rest["next"]) == (2, 1, None)


def test_new_rows_do_not_shift_a_walk(api: ApiClient, acme: Tenant, alice: User) -> None:
    before = make_rows(acme, alice, [NOON - timedelta(minutes=number) for number in range(10)])
    found = ids(walk(api, "/tokens?limit=3", between=lambda: make_rows(acme, alice, [datetime.now(UTC)] * 2)))
    assert [pk for pk in found if pk in set(before)] == before
    assert len(found) == len(set(found)) == 11


@pytest.mark.parametrize("count", [0, 1, 30, 100])
def test_queries_are_constant_and_count_nothing(api: ApiClient, acme: Tenant, alice: User, count: int) -> None:
    make_rows(acme, alice, [NOON - timedelta(minutes=number) for number in range(count)])
    api.get("/tokens")  # notes the use of the token
    with CaptureQueriesContext(connection) as queries:
        api.get("/tokens?limit=100")
    texts = [query["sql"].upper() for query in queries]
    assert len(texts) == 2, texts  # the token, the rows
    assert not [text for text in texts if "COUNT(" in text or "OFFSET" in text]


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1e1", "1.0", "abc", "", " 5", "5 ", "٣", "9" * 30, "0x10", "null"])
def test_wrong_limits_are_named(api: ApiClient, limit: str) -> None:
    answer = api.get(f"/tokens?limit={limit}")
    assert (answer.status_code, slug(answer)) == (400, "invalid-fields")
    assert answer.json()["errors"][0]["field"] == "limit"


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(parts)).encode()).decode().rstrip("=")


PK = str(uuid.UUID(int=7))
WRONG = [
    "",
    "x",
    "=",
    "!!!",
    "é",
    "null",
    "%00",
    "a" * 5000,
    cursor(),
    cursor("n"),
    cursor("n", 0),
    cursor("n", 0, PK, 1),
    cursor("x", 0, PK),
    cursor("N", 0, PK),
    cursor(None, 0, PK),
    cursor([], 0, PK),
    cursor({}, 0, PK),
    cursor("n", "0", PK),
    cursor("n", None, PK),
    cursor("n", 0.5, PK),
    cursor("n", [], PK),
    cursor("n", 10**15 * 1000, PK),  # past the year 9999
    cursor("n", -(10**18), PK),  # before the year 1
    cursor("n", 2**63, PK),
    cursor("n", 2**64 - 1, PK),
    cursor("n", 10**40, PK),
    cursor("n", 0, 5),
    cursor("n", 0, None),
    cursor("n", 0, ""),
    cursor("n", 0, "5"),  # a whole number where ids are UUIDs
    cursor("n", 0, "9" * 100),
    cursor("n", 0, "not-a-uuid"),
    cursor("n", 0, PK + "0"),
    cursor("n", 0, PK + "\0"),
    cursor("n", 0, "' OR 1=1 --"),
    base64.urlsafe_b64encode(b"{}").decode(),
    base64.urlsafe_b64encode(b'"abc"').decode(),
    base64.urlsafe_b64encode(b"[" * 3000).decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    base64.urlsafe_b64encode(b'["n", NaN, "x"]').decode(),
]


@pytest.mark.parametrize("given", WRONG, ids=range(len(WRONG)))
def test_wrong_cursors_are_named(api: ApiClient, given: str) -> None:
    answer = api.get(f"/tokens?cursor={given}")
    assert (answer.status_code, slug(answer)) == (400, "invalid-fields"), answer.content
    assert answer.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("pk", [PK, "-1", str(2**63), str(2**200), "1_0", "1.0", "", "٣x"])
def test_wrong_cursors_of_whole_numbers_are_named(api: ApiClient, pk: str) -> None:
    expected = 200 if pk == "1_0" else 400  # Python reads it as 10, which does no harm
    assert api.get(f"/members?cursor={cursor('n', 0, pk)}").status_code == expected


@pytest.mark.parametrize("microseconds", [0, 1, -1, -62135596800000000, 253402300799999999, 2**53])
@pytest.mark.parametrize("direction", ["n", "p"])
def test_moments_at_the_edges_are_read(api: ApiClient, microseconds: int, direction: str) -> None:
    assert api.get(f"/tokens?cursor={cursor(direction, microseconds, PK)}").status_code == 200
    assert api.get(f"/members?cursor={cursor(direction, microseconds, '5')}").status_code == 200


fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
parts = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.sampled_from(["n", "p", PK, "7"])


@fuzz
@given(st.lists(parts, min_size=2, max_size=4) | st.tuples(st.sampled_from("np"), st.integers(), st.sampled_from([PK, "7"])))
def test_no_cursor_breaks_a_list(api: ApiClient, given_parts: Any) -> None:
    for path in ("/tokens", "/members", "/audit-events"):
        assert api.get(f"{path}?cursor={cursor(*given_parts)}").status_code in {200, 400, 429}


@fuzz
@given(st.binary(max_size=80))
def test_no_bytes_break_a_list(api: ApiClient, raw: bytes) -> None:
    assert api.get(f"/tokens?cursor={base64.urlsafe_b64encode(raw).decode()}").status_code in {200, 400, 429}


@pytest.fixture
def unlimited(settings: Any) -> None:
    settings.RATELIMIT_ENABLE = False


# What happens between two pages: rows come (at any moment, ties with others included) and others go.
changes = st.lists(st.one_of(st.tuples(st.just("add"), st.integers(0, 12)), st.tuples(st.just("remove"), st.integers(0, 200))), max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    touched=st.lists(st.integers(0, 12), max_size=15),
    untouched=st.lists(st.integers(0, 12), max_size=15),
    limit=st.integers(1, 6),
    steps=st.lists(changes, min_size=1, max_size=8),
    backwards=st.booleans(),
)
def test_untouched_rows_appear_once_whatever_comes_and_goes(
    unlimited: None,
    api: ApiClient,
    acme: Tenant,
    alice: User,
    touched: list[int],
    untouched: list[int],
    limit: int,
    steps: list[Any],
    backwards: bool,
) -> None:
    with transaction.atomic():
        going = make_rows(acme, alice, [NOON + timedelta(seconds=second) for second in touched])
        staying = make_rows(acme, alice, [NOON + timedelta(seconds=second) for second in untouched])
        expected = [pk for pk in in_order() if pk in set(staying)]
        script = itertools.cycle(steps)
        pages = itertools.count()

        def change() -> None:
            if next(pages) > 40:
                return  # rows that keep coming behind the walk would keep it going for ever
            for what, number in next(script):
                if what == "add":
                    going.extend(make_rows(acme, alice, [NOON + timedelta(seconds=number)]))
                elif going:
                    Token.objects.filter(pk=going.pop(number % len(going))).delete()

        if backwards:
            start = f"/tokens?limit={limit}&cursor={cursor('p', 0, PK)}"
            found = ids(walk(api, start, link="previous", between=change))[::-1]
        else:
            found = ids(walk(api, f"/tokens?limit={limit}", between=change))
        assert [pk for pk in found if pk in set(staying)] == expected
        assert len(found) == len(set(found))
        transaction.set_rollback(True)
