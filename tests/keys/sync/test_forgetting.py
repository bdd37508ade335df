"""What comparisons found is forgotten when it has long been over, and no sooner."""

from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys import metrics
from keys.models import Finding, FindingKind, Gateway, ReconcileRun
from keys.sync import due, forgetting
from keys.sync.converge import reconcile
from keys.sync.forgetting import KEPT
from tests.support.factories import make_gateway
from tests.support.sandbox import SandboxProcess

NOW = timezone.now()
OLD, RECENT = NOW - KEPT - timedelta(days=1), NOW - KEPT + timedelta(days=1)


def make_run(gateway: Gateway, started_at: datetime, *resolved: datetime | None, dry_run: bool = False) -> ReconcileRun:
    """A run with findings that were over at these times."""
    run = ReconcileRun.objects.create(gateway=gateway, started_at=started_at, ended_at=started_at, dry_run=dry_run)
    what = {"run": run, "gateway": gateway, "kind": FindingKind.FOREIGN, "subject": "gateway key", "remote_id": "x"}
    for resolved_at in resolved:
        Finding.objects.create(**what, found_at=started_at, resolved_at=resolved_at)
    return run


@pytest.mark.parametrize("chunk", [1, 1000])
def test_findings_and_runs_that_have_long_been_over_are_deleted(converged: Gateway, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(forgetting, "CHUNK", chunk)
    before = ReconcileRun.objects.get()
    gone = [make_run(converged, OLD), make_run(converged, OLD, OLD, OLD), make_run(converged, OLD)]
    lately = make_run(converged, OLD, OLD, RECENT)
    recent = make_run(converged, RECENT, RECENT)
    others = make_run(make_gateway(), OLD, OLD)

    run = reconcile(converged.pk)

    assert run is not None
    assert not ReconcileRun.objects.filter(pk__in=[each.pk for each in gone]).exists()
    assert set(ReconcileRun.objects.all()) == {before, lately, recent, others, run}
    assert [each.findings.count() for each in (lately, recent, others)] == [1, 1, 1]


def test_finding_that_is_open_keeps_its_run_however_old(converged: Gateway, sandbox: SandboxProcess) -> None:
    sandbox.client().create_api_key(name="theirs", enabled=True)
    reconcile(converged.pk)
    ReconcileRun.objects.update(started_at=OLD)

    reconcile(converged.pk)

    finding = Finding.objects.get()
    assert (finding.state, finding.run.started_at) == ("open", OLD)


def test_open_findings_are_found_by_an_index(converged: Gateway) -> None:
    """However many are over; on PostgreSQL few rows are read as a whole, unless that is forbidden."""
    make_run(converged, NOW, None, *[NOW] * 50)
    with CaptureQueriesContext(connection) as asked:
        list(metrics._findings().samples)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {'' if connection.vendor == 'postgresql' else 'QUERY PLAN '}{asked[0]['sql']}")
        plan = str(cursor.fetchall())

    assert "finding_open" in plan


def test_comparison_that_was_asked_for_long_ago_is_not_made_again(converged: Gateway) -> None:
    Gateway.objects.update(dry_run_requested_at=OLD)
    make_run(converged, OLD - timedelta(days=1), dry_run=True)
    answer = make_run(converged, OLD, dry_run=True)

    reconcile(converged.pk)

    assert list(ReconcileRun.objects.filter(dry_run=True)) == [answer]
    converged.refresh_from_db()
    assert not due.comparison_is_due(converged)
