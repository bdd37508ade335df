"""What a request, a task and a library write into the log."""

import io
import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from keys.tasks import sweep
from portal.logging import logging_settings
from portal.middleware import RequestLogMiddleware
from portal.urls import urlpatterns as real_urls
from tenants.models import User
from tests.support.services import Broker, WorkerProcess, wait_until

KEY = "tgk7Zp0QmXw3LrT9vB2nYcF5hJ8kD1sGa4Ue6iO0PqRtWxZyNbVmC1"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The production log at DEBUG, as the objects that were written so far."""
    stream = io.StringIO()
    config = logging_settings(level="DEBUG", renderer="json")
    config["handlers"]["stderr"]["stream"] = stream
    logging.config.dictConfig(config)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.contextvars.clear_contextvars()
    logging_settings(level=settings.LOG_LEVEL, renderer=settings.LOG_FORMAT)
    logging.config.dictConfig(settings.LOGGING)


def requests_in(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request"]


def fails(request: HttpRequest) -> HttpResponse:
    password = "hunter2-and-more"
    raise ValueError(f"cannot open {KEY} for {request.POST.get('name')}: {password=}")


urlpatterns = [*real_urls, path("fails/", fails)]


def test_request_writes_one_line(client: Client, alice: User, lines: Lines) -> None:
    client.force_login(alice)

    client.get("/docs/?secret=abc")

    (line,) = requests_in(lines())
    assert (line["method"], line["path"], line["status"], line["user_id"]) == ("GET", "/docs/", 200, str(alice.pk))
    assert line["ms"] > 0
    assert line["level"] == "info"
    assert "abc" not in json.dumps(lines())


def test_request_id_comes_in_and_goes_out(client: Client, lines: Lines, db: None) -> None:
    answer = client.get("/docs/", headers={"X-Request-Id": "trace-0123456789"})

    assert answer.headers["X-Request-Id"] == "trace-0123456789"
    assert requests_in(lines())[0]["request_id"] == "trace-0123456789"


def test_refused_and_missing_pages_write_one_line_too(client: Client, lines: Lines, db: None) -> None:
    client.get("/nothing-here/")
    client.get("/docs/", headers={"host": "elsewhere.example.com"})

    assert [(line["event"], line["status"]) for line in lines()] == [("request", 404), ("request", 400)]


@pytest.mark.parametrize("given", ["", "short", "a" * 65, "new\nline-and-more", "blank in it", KEY + "<script>"])
def test_request_id_that_is_malformed_is_replaced(given: str) -> None:
    request = RequestFactory().get("/", headers={"X-Request-Id": given})

    answer = RequestLogMiddleware(lambda _: HttpResponse())(request)

    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 36


def test_request_ids_do_not_leak_into_the_next_request(client: Client, lines: Lines, db: None) -> None:
    client.get("/docs/")
    client.get("/docs/")

    first, second = requests_in(lines())
    assert first["request_id"] != second["request_id"]
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_mail_links_are_not_logged(client: Client, lines: Lines, db: None) -> None:
    client.get("/accounts/confirm-email/MQ:1vMabC:Xk3Jt0Q9sYbGmR4nZc7vLhPd2wEoTfUaI5xKq8rNy1M/")
    client.get("/accounts/password/reset/key/2c-d4a1xk-0123456789abcdef0123456789abcdef/")

    written = json.dumps(lines())
    assert "Xk3Jt0Q9" not in written
    assert "0123456789abcdef" not in written
    assert requests_in(lines())[0]["path"] == "/accounts/confirm-email/[scrubbed]/"


@override_settings(ROOT_URLCONF="tests.portal.test_logging")
def test_error_is_logged_with_a_traceback_and_without_secrets(client: Client, lines: Lines, db: None) -> None:
    client.raise_request_exception = False

    answer = client.post("/fails/", {"name": KEY, "password": "hunter2-and-more"})

    assert answer.status_code == 500
    written = json.dumps(lines())
    (line,) = [line for line in lines() if "exception" in line]
    assert "ValueError" in line["exception"]
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert KEY not in written
    assert "hunter2" not in written


def test_libraries_are_scrubbed_alike(lines: Lines) -> None:
    logging.getLogger("some.library").warning("sent %s to %s", {"Authorization": "Bearer abcdefghijkl"}, KEY)

    (line,) = lines()
    assert (line["level"], line["logger"]) == ("warning", "some.library")
    assert "abcdefghijkl" not in line["event"]
    assert KEY not in line["event"]


def test_bound_fields_are_scrubbed(lines: Lines) -> None:
    structlog.get_logger("x").bind(cookie="s=1").error("odd", headers={"x-api-key": "opaque"}, at=[KEY])

    (line,) = lines()
    assert line["cookie"] == "[scrubbed]"
    assert line["headers"] == {"x-api-key": "[scrubbed]"}
    assert KEY not in json.dumps(line)


def test_botocore_and_the_database_are_kept_above_debug(lines: Lines, alice: User) -> None:
    logging.getLogger("botocore.endpoint").debug("Making request with body %s", KEY)
    list(User.objects.all())

    assert [line for line in lines() if line["logger"].startswith(("botocore", "django.db"))] == []


def test_console_lines_are_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    formatter = logging_settings(level="INFO", renderer="console")["formatters"]["structured"]
    build = formatter.pop("()")
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "the key %s", (KEY,), None)

    text = build(**formatter).format(record)

    assert "the key [scrubbed]" in text


@pytest.mark.slow
def test_request_id_is_carried_into_the_workers_log(file_broker: Broker, celery_worker_process: Callable[..., WorkerProcess]) -> None:
    worker = celery_worker_process(file_broker, LOG_FORMAT="json")

    with structlog.contextvars.bound_contextvars(request_id="trace-0123456789"):
        sweep.delay()

    def lines_of_the_request() -> list[dict[str, Any]]:
        written = [line for line in worker.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, written) if line.get("request_id") == "trace-0123456789"]

    wait_until(
        lambda: "task_started" in [line["event"] for line in lines_of_the_request()], seconds=20, what="a line with the request's id"
    )
    assert all(line["task_id"] for line in lines_of_the_request())


def test_workers_keep_our_handlers() -> None:
    from celery.signals import setup_logging

    handlers = list(logging.getLogger().handlers)
    try:
        answers = setup_logging.send(sender=None, loglevel=20, logfile=None, format="", colorize=False)
        formatters = [type(handler.formatter) for handler in logging.getLogger().handlers]
    finally:
        logging.getLogger().handlers = handlers

    assert answers
    assert structlog.stdlib.ProcessorFormatter in formatters
