"""Walks through a list while other processes write to it, and how PostgreSQL reads a deep page."""

from __future__ import annotations

import random
from datetime import timedelta
from multiprocessing.synchronize import Event
from typing import Any

import pytest
from django.db import connections

from tenants.models import Tenant, Token, User
from tests.support.api import ApiClient, token_for
from tests.support.processes import _fork
from tests.support.services import wait_until
from tests.tenants.api.test_pagination import NOON, ids, make_rows, walk

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def _churn(number: int, tenant: Tenant, user: User, stop: Event, rounds: Any) -> None:
    """Add rows all over the list, with ties, and take them away again, until told to stop."""
    connections.close_all()
    dice = random.Random(number)
    from tests.tenants.api import test_pagination  # this process's own numbers

    test_pagination._numbers = iter(range(number * 10**6, (number + 1) * 10**6))  # type: ignore[assignment]
    mine: list[str] = []
    while not stop.is_set():
        mine += make_rows(tenant, user, [NOON + timedelta(seconds=dice.randrange(60)) for _ in range(20)])
        dice.shuffle(mine)
        Token.objects.filter(pk__in=mine[40:]).delete()
        del mine[40:]
        with rounds.get_lock():
            rounds.value += 1
    connections.close_all()


@pytest.mark.parametrize("link", ["next", "previous"])
def test_untouched_rows_appear_once_under_writers(acme: Tenant, alice: User, settings: Any, link: str) -> None:
    settings.RATELIMIT_ENABLE = False
    secret, stop, rounds = token_for(alice), _fork.Event(), _fork.Value("i", 0)
    untouched = make_rows(acme, alice, [NOON + timedelta(seconds=number % 60) for number in range(600)])
    connections.close_all()
    writers = [_fork.Process(target=_churn, args=(number, acme, alice, stop, rounds)) for number in (1, 2, 3)]
    for writer in writers:
        writer.start()
    try:
        wait_until(lambda: rounds.value > 3, what="writers at work")
        api = ApiClient(secret)
        for _ in range(3):
            start, before = "/tokens?limit=20", rounds.value
            if link == "previous":
                page = api.get("/tokens?limit=100").json()
                while page["next"]:
                    page = api.get(page["next"]).json()
                start = page["previous"].replace("limit=100", "limit=20")
                found = ids(walk(api, start, link="previous"))[::-1] + ids(page["data"])
            else:
                found = ids(walk(api, start))
            seen = [pk for pk in found if pk in set(untouched)]
            assert sorted(seen) == sorted(untouched)
            assert len(found) == len(set(found))
            assert rounds.value > before, "nobody wrote meanwhile"
    finally:
        stop.set()
        for writer in writers:
            writer.join(30)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
