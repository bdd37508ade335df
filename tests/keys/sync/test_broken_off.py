"""Comparisons that are broken off: their runs say so, and are not begun again at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import Error, connection
from django.utils import timezone

from keys.gateway.client import GatewayClient
from keys.models import Gateway, ReconcileRun
from keys.sync import due
from keys.sync.converge import reconcile


def _time_is_up() -> None:
    raise SoftTimeLimitExceeded


def _database_fails() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def _lease_is_lost() -> None:
    Gateway.objects.update(lease_owner="somebody")


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """``meanwhile(act)``: do it once, while keys are listed."""

    def prepare(act: Callable[[], None]) -> None:
        list_keys, todo = GatewayClient.list_keys, [act]

        def watched(self: GatewayClient, *arguments: Any) -> Any:
            if todo:
                todo.pop()()
            return list_keys(self, *arguments)

        monkeypatch.setattr(GatewayClient, "list_keys", watched)

    return prepare


@pytest.mark.parametrize(("act", "error"), [(_time_is_up, SoftTimeLimitExceeded), (_database_fails, Error)])
def test_run_that_is_broken_off_says_so_and_is_not_due_again_at_once(
    converged: Gateway, settings: Any, meanwhile: Callable[[Callable[[], None]], None], act: Callable[[], None], error: type[Exception]
) -> None:
    meanwhile(act)
    settings.RECONCILE_SECONDS = 0

    with pytest.raises(error):
        reconcile(converged.pk)

    run = ReconcileRun.objects.latest("started_at")
    assert (run.error, run.findings.count()) == ("The comparison was broken off.", 0)
    assert run.ended_at is not None
    now = timezone.now()
    assert not due.reconcile_is_due(converged, now)
    assert due.reconcile_is_due(converged, now + timedelta(minutes=2))
    assert reconcile(converged.pk) is not None
    assert ReconcileRun.objects.latest("started_at").error == ""


def test_who_lost_the_lease_writes_nothing_and_the_next_run_says_that_it_was_broken_off(
    converged: Gateway, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    meanwhile(_lease_is_lost)

    assert reconcile(converged.pk) is None

    lost = ReconcileRun.objects.latest("started_at")
    assert (lost.ended_at, lost.error) == (None, "")

    Gateway.objects.update(lease_owner="")
    assert reconcile(converged.pk) is not None
    lost.refresh_from_db()
    assert lost.ended_at is not None
    assert lost.error == "The comparison was broken off."
