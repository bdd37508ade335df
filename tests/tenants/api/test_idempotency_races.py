"""Fault matrix, row 14: the same Idempotency-Key many times at once, and crashes between work and answer. Real processes, PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connection, connections, transaction

from tenants.models import AuditEvent, IdempotentAnswer, Tenant, Token, User
from tenants.services import answers
from tests.support.api import ApiClient, token_for
from tests.support.processes import _fork
from tests.support.services import wait_until
from tests.support.web import Answer, web_process

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
TOKEN = {"name": "Twin", "scopes": ["keys:read"]}
OPTIONS = {"API_SECRETS_PER_MINUTE": "100000", "API_REQUESTS_PER_MINUTE": "100000"}


def at_the_same_moment(count: int, call: Callable[[int], Answer]) -> list[Answer]:
    barrier = Barrier(count)

    def one(number: int) -> Answer:
        barrier.wait(30)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_100_twins_are_carried_out_once_and_answered_alike(alice: User, tmp_path: Path) -> None:
    secret = token_for(alice)
    with web_process(tmp_path, workers=2, threads=8, **OPTIONS) as web:
        for round_ in range(3):
            key = f"round-{round_}"
            answers = at_the_same_moment(
                100, lambda _n, key=key: web.call("POST", "/api/v1/tokens", TOKEN, secret=secret, Idempotency_Key=key)
            )
            assert {answer.status for answer in answers} == {201}
            assert len({answer.body for answer in answers}) == 1
            assert len({answer.headers["location"] for answer in answers}) == 1
            assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", *["true"] * 99]
            assert Token.objects.filter(name="Twin").count() == round_ + 1
            assert AuditEvent.objects.filter(action="token.made", target_label="Twin").count() == round_ + 1
        other = web.call("POST", "/api/v1/tokens", {**TOKEN, "name": "Other"}, secret=secret, Idempotency_Key="round-0")
        assert other.status == 422
    assert IdempotentAnswer.objects.count() == 3


def test_twins_with_two_bodies_have_one_winner(alice: User, tmp_path: Path) -> None:
    secret = token_for(alice)
    bodies = [TOKEN, {**TOKEN, "name": "Rival"}]
    with web_process(tmp_path, workers=2, threads=8, **OPTIONS) as web:
        answers = at_the_same_moment(
            40, lambda number: web.call("POST", "/api/v1/tokens", bodies[number % 2], secret=secret, Idempotency_Key="a")
        )
    assert sorted({answer.status for answer in answers}) == [201, 422]
    assert sum(answer.status == 201 for answer in answers) == 20
    assert Token.objects.filter(name__in=["Twin", "Rival"]).count() == 1


def test_different_keys_at_once_are_all_carried_out(alice: User, tmp_path: Path) -> None:
    secret = token_for(alice)
    with web_process(tmp_path, workers=2, threads=8, **OPTIONS) as web:
        answers = at_the_same_moment(
            40, lambda number: web.call("POST", "/api/v1/tokens", TOKEN, secret=secret, Idempotency_Key=str(number))
        )
    assert [answer.status for answer in answers] == [201] * 40
    assert Token.objects.filter(name="Twin").count() == 40


def _stopping_at(place: str, secret: str, reached: Any) -> None:
    """A process that answers one request, and stands still for ever at ``place``."""
    from tenants.api import idempotency  # the process's own copies are changed
    from tenants.services import answers

    connections.close_all()
    carry_out, keep = idempotency._carry_out, answers.keep

    def stop_at_the_work(*arguments: Any) -> Any:
        if place == "before the work":
            halt()
        return carry_out(*arguments)

    def stop_at_the_answer(*arguments: Any, **options: Any) -> None:
        if place == "before the answer is kept":
            halt()
        keep(*arguments, **options)
        if place == "before the commit":
            halt()

    def halt() -> None:
        reached.set()
        signal.pause()

    idempotency._carry_out, answers.keep = stop_at_the_work, stop_at_the_answer
    ApiClient(secret).post("/tokens", TOKEN, Idempotency_Key="a")


@pytest.mark.parametrize("place", ["before the work", "before the answer is kept", "before the commit"])
def test_crash_leaves_neither_work_nor_answer(alice: User, place: str) -> None:
    """A twin that waits meanwhile does the work; one that comes later gets its answer."""
    secret, reached = token_for(alice), _fork.Event()
    connections.close_all()
    crashing = _fork.Process(target=_stopping_at, args=(place, secret, reached))
    crashing.start()
    assert reached.wait(30)
    assert not Token.objects.filter(name="Twin").exists()
    assert not IdempotentAnswer.objects.exists()

    def twin() -> Any:
        try:
            return ApiClient(secret).post("/tokens", TOKEN, Idempotency_Key="a")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(twin)
        wait_until(_somebody_waits, what="a twin that waits for the first")
        assert not waiting.done()
        assert crashing.pid is not None
        os.kill(crashing.pid, signal.SIGKILL)
        crashing.join(10)
        answer = waiting.result(timeout=30)

    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer
    assert Token.objects.filter(name="Twin").count() == 1
    retry = ApiClient(secret).post("/tokens", TOKEN, Idempotency_Key="a")
    assert (retry.content, retry["Idempotent-Replayed"]) == (answer.content, "true")
    assert Token.objects.filter(name="Twin").count() == 1


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # inside a transaction the first look would be the last
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


def test_killed_web_server_leaves_nothing_and_the_retry_is_carried_out(alice: User, tmp_path: Path) -> None:
    """The server is killed while its request waits for a row that somebody else holds."""
    secret = token_for(alice)
    with web_process(tmp_path, threads=4, **OPTIONS) as web, ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Tenant.objects.select_for_update().get(memberships__user=alice)
            doomed = pool.submit(web.call, "POST", "/api/v1/tokens", TOKEN, secret=secret, Idempotency_Key="a")
            wait_until(_somebody_waits, what="a request in the middle of its work")
            assert web.process is not None
            children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
            for pid in [web.process.pid, *map(int, children)]:
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(OSError):  # noqa: PT011 - reset or closed, as the kernel likes
                doomed.result(timeout=30)
        wait_until(lambda: not _somebody_waits(), what="the end of the dead server's transaction")
    assert not Token.objects.filter(name="Twin").exists()
    assert not IdempotentAnswer.objects.exists()

    with web_process(tmp_path, **OPTIONS) as web:
        retry = web.call("POST", "/api/v1/tokens", TOKEN, secret=secret, Idempotency_Key="a")
        assert retry.status == 201
        again = web.call("POST", "/api/v1/tokens", TOKEN, secret=secret, Idempotency_Key="a")
        assert again.body == retry.body
    assert Token.objects.filter(name="Twin").count() == 1


def test_twin_of_one_that_hangs_is_told_to_come_again(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is free again, and the key is still the first one's."""
    monkeypatch.setattr("tenants.services.answers.TWIN_SECONDS", 1)
    secret = token_for(alice)
    first_is_in, may_go_on = Event(), Event()

    def hang() -> None:
        try:
            with transaction.atomic():
                IdempotentAnswer.objects.create(caller=f"tenant:{Tenant.objects.get().pk}", key="a", fingerprint="x")
                first_is_in.set()
                may_go_on.wait(30)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(hang)
        try:
            assert first_is_in.wait(30)
            answer = ApiClient(secret).post("/tokens", TOKEN, Idempotency_Key="a")
        finally:
            may_go_on.set()
        hanging.result()
    assert (answer.status_code, answer["Retry-After"]) == (409, "1")
    assert answer.json()["type"].endswith("/request-in-progress/")
    assert not Token.objects.filter(name="Twin").exists()


def test_bound_on_waiting_for_a_twin_does_not_outlast_it(alice: User) -> None:
    """The work itself waits for locks as long as it does without a key."""
    with transaction.atomic():
        answers.claim(caller="tenant:x", key="a", fingerprint="f")
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)
