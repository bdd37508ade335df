"""What is taken for a body: one JSON object in UTF-8, not too large, not too deep; each field what it says it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.api.wire import DEEPEST, LARGEST_BODY
from tests.support.api import ApiClient
from tests.tenants.api.probe import probed
from tests.tenants.api.test_authentication import slug

pytestmark = [pytest.mark.django_db, probed]


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"  \n ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1} {"b": 2}',
        b'{"a": "\xff\xfe"}',
        b'{"a": "\xed\xa0\x80"}',
        '{"a": "é"}'.encode("latin-1"),
        '{"a": 1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a": 01}',
        b'{"a": "\x00"}',
        b"\x00",
        b"[1]",
        b'"text"',
        b"1",
        b"null",
        b"true",
        b"name=x&scopes=y",
        b"<name>x</name>",
        nested(DEEPEST + 1),
        nested(20_000),
        nested(20_000, "[", "]"),
        b'{"a":' + nested(5_000, "[", "]") + b"}",
        b"[" * 500_000,
    ],
)
def test_what_is_no_json_object_is_refused(api: ApiClient, body: bytes) -> None:
    answer = api.post("/probe", body)
    assert (answer.status_code, slug(answer)) == (400, "malformed-body")


def test_place_of_the_fault_is_told(api: ApiClient) -> None:
    assert "line 3, column 5" in api.post("/probe", b'{\n"a": 1,\n"b" 2}').json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{}", b' {"a": 1} ', nested(DEEPEST), '{"a": "日本\\u0000"}'.encode()])
def test_what_is_one_is_taken(api: ApiClient, body: bytes) -> None:
    answer = api.post("/probe", body)
    assert answer.status_code == 201
    assert answer.json()["echo"] == (json.loads(body) if body.strip() else {})


def test_large_body_is_413(api: ApiClient) -> None:
    fits = b'{"a": "' + b"x" * (LARGEST_BODY - 9) + b'"}'
    assert len(fits) == LARGEST_BODY
    assert api.post("/probe", fits).status_code == 201
    answer = api.post("/probe", fits + b" ")
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "*/*"]
)
def test_other_types_are_415(api: ApiClient, content_type: str) -> None:
    answer = api.call("POST", "/probe", b'{"a": 1}', Content_Type=content_type)
    assert (answer.status_code, slug(answer)) == (415, "unsupported-media-type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])
def test_ways_to_write_the_type(api: ApiClient, content_type: str) -> None:
    assert api.call("POST", "/probe", b'{"a": 1}', Content_Type=content_type).json()["echo"] == {"a": 1}


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense", ""])
def test_whatever_is_accepted_json_comes(api: ApiClient, accept: str) -> None:
    assert api.get("/probe", Accept=accept)["Content-Type"] == "application/json"
    assert api.get("/nothing", Accept=accept)["Content-Type"] == "application/problem+json"
    assert api.get("/probe?format=html").status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": 5, "scopes": ["keys:read"]}, "name"),
        ({"name": None, "scopes": ["keys:read"]}, "name"),
        ({"name": True, "scopes": ["keys:read"]}, "name"),
        ({"name": ["x"], "scopes": ["keys:read"]}, "name"),
        ({"name": {"x": 1}, "scopes": ["keys:read"]}, "name"),
        ({"name": "", "scopes": ["keys:read"]}, "name"),
        ({"name": "   ", "scopes": ["keys:read"]}, "name"),
        ({"name": "x" * 101, "scopes": ["keys:read"]}, "name"),
        ({"name": "a\0b", "scopes": ["keys:read"]}, "name"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": "keys:read"}, "scopes"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": {"keys:read": 1}}, "scopes"),
        ({"name": "x", "scopes": None}, "scopes"),
        ({"name": "x", "scopes": ["keys:all"]}, "scopes.0"),
        ({"name": "x", "scopes": ["keys:read", 7]}, "scopes.1"),
        ({"name": "x", "scopes": [["keys:read"]]}, "scopes.0"),
        ({"name": "x", "scopes": [{"a": 1}]}, "scopes.0"),
        ({"name": "x", "scopes": ["keys:read"] * 100}, "scopes"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": "9999-12-31T23:59:59Z"}, "expires_at"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": 1790000000}, "expires_at"),
        ({"name": "x", "scopes": ["keys:read"], "expires_at": 10**400}, "expires_at"),
        ({"name": 10**30, "scopes": ["keys:read"]}, "name"),
        ({"name": "x", "scopes": ["keys:read"], "tier": "free"}, "tier"),
        ({"name": "x", "scopes": ["keys:read"], "": 1}, ""),
    ],
)
def test_wrong_fields_are_named(api: ApiClient, body: Any, field: str) -> None:
    answer = api.post("/tokens", body)
    assert answer.status_code == 400, answer.content
    if slug(answer) == "invalid-fields":  # a number that no JSON reader takes is malformed instead
        assert field in {error["field"] for error in answer.json()["errors"]}
        assert all(error["detail"] for error in answer.json()["errors"])


def test_unknown_fields_are_all_named_with_what_there_is(api: ApiClient) -> None:
    answer = api.post("/tokens", {"name": "x", "scopes": ["keys:read"], "ttl": 5, "Name": "y"}).json()
    assert {error["field"] for error in answer["errors"]} == {"ttl", "Name"}
    assert "name, scopes, expires_at" in answer["detail"]


def test_unknown_parameters_are_all_named(api: ApiClient) -> None:
    for method, path in (("GET", "/tokens"), ("POST", "/tokens"), ("GET", "/tenant"), ("PATCH", "/tenant")):
        answer = api.call(method, f"{path}?page=2&offset=1", b"{}")
        assert answer.status_code == 400
        assert {error["field"] for error in answer.json()["errors"]} == {"page", "offset"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.sampled_from(["name", "scopes", "expires_at", "other"]), json_values, max_size=4))
def test_no_body_breaks_an_endpoint(api: ApiClient, body: dict[str, Any]) -> None:
    for method, path in (("POST", "/tokens"), ("PATCH", "/tenant")):
        assert api.call(method, path, json.dumps(body).encode()).status_code in {200, 400, 429}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_break_an_endpoint(api: ApiClient, body: bytes) -> None:
    assert api.post("/tokens", body).status_code in {400, 429}
