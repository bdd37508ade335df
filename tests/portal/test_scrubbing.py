"""No secret leaves through a log line, whatever shape it comes in."""

import json
import time
from pathlib import Path

import pytest

from portal.scrubbing import GONE, MAX_TEXT, scrub, scrub_event, scrub_text

KEY = "tgk7Zp0QmXw3LrT9vB2nYcF5hJ8kD1sGa4Ue6iO0PqRtWxZyNbVmC1"
PASSWORD = "hunter2-and-more"
CONFIRMATION = "MQ:1vMabC:Xk3Jt0Q9sYbGmR4nZc7vLhPd2wEoTfUaI5xKq8rNy1M"
RESET = "2c-d4a1xk-0123456789abcdef0123456789abcdef"
COOKIE = "k2v9s8d7f6g5h4j3k2l1"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /api with {KEY}", KEY),
        (f"x{KEY}x", KEY),
        (f"X-Api-Key: {KEY}", KEY),
        ("signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw today", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("x-api-key: some-other-opaque-value", "some-other-opaque-value"),
        ('{"x-api-key": "opaque value with blanks"}', "opaque value"),
        ("('X-Api-Key', 'opaque-value')", "opaque-value"),
        ("b'X-Api-Key': b'opaque-value'", "opaque-value"),
        ("Authorization: Bearer abc.def.ghi", "abc.def.ghi"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("sent Bearer abcdef123456 to", "abcdef123456"),
        ('headers={"Authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE0123456/x, Signature=deadbeef"}', "deadbeef"),
        ("GET /\\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE0123456/x, Signature=deadbeef", "deadbeef"),
        (f"Cookie: session={COOKIE}; csrf=abc", COOKIE),
        (f"Set-Cookie: __Host-session={COOKIE}; Secure", COOKIE),
        (f"{{'HTTP_COOKIE': 'session={COOKIE}'}}", COOKIE),
        (f"password={PASSWORD}&next=/", PASSWORD),
        (f"password1: {PASSWORD}", PASSWORD),
        (f"{{'old_password': '{PASSWORD}'}}", PASSWORD),
        (json.dumps({"password": f'{PASSWORD}" quoted'}), PASSWORD),
        (json.dumps(json.dumps({"password": PASSWORD})), PASSWORD),
        (f"csrfmiddlewaretoken={COOKIE}", COOKIE),
        (f"AWS_SECRET_ACCESS_KEY={COOKIE}", COOKIE),
        (f"aws_session_token='{COOKIE}'", COOKIE),
        (f"/accounts/confirm-email/{CONFIRMATION}/", CONFIRMATION),
        (f"http://localhost/accounts/confirm-email/{CONFIRMATION}/ HTTP/1.1", "Xk3Jt0Q9"),
        (f"next=%2Faccounts%2Fconfirm-email%2F{CONFIRMATION.replace(':', '%3A')}%2F", "MQ%3A"),
        (f"key {CONFIRMATION} was used", CONFIRMATION),
        (f"/accounts/password/reset/key/{RESET}/", RESET),
        (f"mail said {RESET}.", RESET),
        (f"/keys/?q={COOKIE}", COOKIE),
        (f"https://example.com/path?one=1&two={COOKIE}#top", COOKIE),
        (f"postgres://tollgate:{PASSWORD}@db:5432/name", PASSWORD),
        (f"redis://:{PASSWORD}@cache:6379/0 refused", PASSWORD),
        ("gAAAAABnQ0z9Xk3Jt0Q9sYbGmR4nZc7vLhPd2wEoTfUaI5xKq8rNy1M==", "Xk3Jt0Q9"),
    ],
)
def test_text_loses_secrets_of_every_shape(text: str, secret: str) -> None:
    scrubbed = scrub_text(text)

    assert secret not in scrubbed
    assert GONE in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "GET /keys/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/ 200",
        "Task keys.converge[0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b] succeeded in 0.03 s",
        "/accounts/password/reset/key/done/",
        "Basic tier: token bucket is dry",
        "2026-11-21T02:30:00.123456Z",
        "connection to server at db:5432 failed",
        "10 requests a second, bursts of 5",
    ],
)
def test_text_without_secrets_is_left_alone(text: str) -> None:
    assert scrub_text(text) == text


def test_text_of_any_length_is_cut() -> None:
    assert len(scrub_text("a" * 10 * MAX_TEXT)) < MAX_TEXT + 10


def test_fields_are_scrubbed_by_their_name_at_any_depth() -> None:
    event = {
        "event": "x",
        "request": {"headers": [("Accept", "text/html"), ("X-Api-Key", "opaque")], "form": {"password1": PASSWORD, "n": 3}},
    }

    scrubbed = scrub_event(None, "info", event)

    assert scrubbed["request"]["headers"] == [["Accept", "text/html"], ["X-Api-Key", GONE]]
    assert scrubbed["request"]["form"] == {"password1": GONE, "n": 3}


def test_objects_are_scrubbed_as_their_text() -> None:
    error = ValueError(f"cannot use {KEY}")

    assert KEY not in scrub(error)
    assert KEY not in str(scrub([Path(f"/somewhere/{KEY}"), {KEY: KEY}, {KEY}, KEY.encode()]))


def test_deep_and_circular_values_end() -> None:
    loop: dict[str, object] = {}
    loop["inner"] = {"again": loop, "text": KEY}

    assert KEY not in str(scrub(loop))


@pytest.mark.parametrize(
    "text",
    ["a", "/", "a-", "a:", "token", "token ", "'", "http://", "_", "://a", "tga_", 'token:\\"', "basic ", "reset/key/", "cookie:", "a/?"],
)
def test_text_that_a_visitor_repeats_costs_linear_time(text: str) -> None:
    """Quadratic patterns took 8 to 24 s for these."""
    started = time.process_time()

    scrub_text(text * (MAX_TEXT // len(text)))

    assert time.process_time() - started < 1
