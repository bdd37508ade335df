"""Comparing a gateway with the database, asked for and read over the API."""

import pytest
from django.utils import timezone

from keys.models import Finding, Gateway, ReconcileRun
from tests.support.api import ApiClient
from tests.support.factories import make_gateway

pytestmark = pytest.mark.django_db


def test_comparison_that_changes_nothing_is_asked_for(staff: ApiClient) -> None:
    gateway = make_gateway()

    answer = staff.post(f"/staff/gateways/{gateway.pk}/reconcile", {"dry_run": True})

    assert answer.status_code == 202
    assert (answer.json()["dry_run_requested_at"] is not None, answer.json()["reconcile_requested_at"]) == (True, None)
    assert Gateway.objects.get().dry_run_requested_at is not None


def test_dry_run_is_yes_or_no(staff: ApiClient) -> None:
    answer = staff.post(f"/staff/gateways/{make_gateway().pk}/reconcile", {"dry_run": "perhaps"})

    assert answer.status_code == 400
    assert "dry_run" in answer.content.decode()


def test_runs_tell_what_they_were_for_and_why_they_stopped(staff: ApiClient) -> None:
    gateway, now = make_gateway(), timezone.now()
    ReconcileRun.objects.create(gateway=gateway, ended_at=now, dry_run=True, calls=41)
    stopped = ReconcileRun.objects.create(gateway=gateway, ended_at=now, stopped="Too many.")

    [looked] = staff.get("/staff/reconcile-runs?dry_run=true").json()["data"]
    [halted] = staff.get("/staff/reconcile-runs?outcome=stopped").json()["data"]

    assert (looked["outcome"], looked["dry_run"], looked["calls"]) == ("clean", True, 41)
    assert (halted["id"], halted["outcome"], halted["stopped"]) == (stopped.pk, "stopped", "Too many.")


def test_findings_show_before_and_after(staff: ApiClient) -> None:
    run = ReconcileRun.objects.create(gateway=make_gateway(), ended_at=timezone.now())
    Finding.objects.create(
        run=run,
        gateway=run.gateway,
        kind="wrong_enabled",
        subject="gateway key",
        before="disabled",
        after="enabled",
        detail="d",
        action="a",
    )

    [finding] = staff.get("/staff/findings?kind=wrong_enabled").json()["data"]

    assert (finding["before"], finding["after"]) == ("disabled", "enabled")
