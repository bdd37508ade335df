import uuid

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from keys.models import Finding, ReconcileRun
from tests.support.factories import make_gateway

pytestmark = pytest.mark.django_db

RUNS = "/staff/keys/reconcilerun/"
FINDINGS = "/staff/keys/finding/"


def make_run(*, findings: int = 0, error: str = "", ended: bool = True, **columns: object) -> ReconcileRun:
    run = ReconcileRun.objects.create(gateway=make_gateway(), ended_at=timezone.now() if ended else None, error=error, **columns)
    for number in range(findings):
        Finding.objects.create(
            run=run, gateway=run.gateway, kind="extra", subject="gateway key", label=f"old-{number}", detail="Unknown.", action="Disabled."
        )
    return run


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("clean", "In step"), ("drift", "Drift found"), ("stopped", "Stopped"), ("failed", "Failed"), ("running", "Running")],
)
def test_filter_agrees_with_the_outcome_that_is_shown(staff: Client, outcome: str, word: str) -> None:
    runs = {
        "clean": make_run(),
        "drift": make_run(findings=2),
        "stopped": make_run(findings=2, stopped="Too many."),
        "failed": make_run(error="Refused."),
        "running": make_run(ended=False),
    }

    response = staff.get(RUNS, {"outcome": outcome})

    assert list(response.context["cl"].result_list) == [runs[outcome]]
    assert f"</span>{word}" in response.content.decode() or f'">{word}</span>' in response.content.decode()


def test_runs_that_only_looked_are_told_from_those_that_repaired(staff: Client) -> None:
    looked, repaired = make_run(dry_run=True), make_run()

    assert list(staff.get(RUNS, {"purpose": "compare"}).context["cl"].result_list) == [looked]
    assert list(staff.get(RUNS, {"purpose": "repair"}).context["cl"].result_list) == [repaired]
    assert "Compare only" in staff.get(f"{RUNS}{looked.pk}/change/").content.decode()
    assert "Compare and repair" in staff.get(f"{RUNS}{repaired.pk}/change/").content.decode()


def test_run_leads_to_its_findings(staff: Client) -> None:
    run, other = make_run(findings=2), make_run(findings=3)

    page = staff.get(f"{RUNS}{run.pk}/change/").content.decode()

    url = f"{FINDINGS}?run__id__exact={run.pk}"
    assert url in page
    assert {each.run_id for each in staff.get(url).context["cl"].result_list} == {run.pk} != {other.pk}


def test_finding_shows_before_and_after(staff: Client) -> None:
    make_run(findings=1)
    Finding.objects.update(kind="wrong_enabled", before="disabled", after="enabled")

    for page in (staff.get(FINDINGS), staff.get(f"{FINDINGS}{Finding.objects.get().pk}/change/")):
        assert "disabled" in page.content.decode()
        assert "enabled" in page.content.decode()
    assert "Wrong enabled" in staff.get(FINDINGS).content.decode()
    assert "shall be: enabled" in staff.get(FINDINGS).content.decode()


def test_findings_are_found_by_name(staff: Client) -> None:
    make_run(findings=2)

    assert [finding.label for finding in staff.get(FINDINGS, {"q": "old-1"}).context["cl"].result_list] == ["old-1"]


def test_filter_finds_what_became_of_findings(staff: Client) -> None:
    make_run(findings=5)
    now = timezone.now()
    Finding.objects.filter(label="old-0").update(quarantined_at=now)
    Finding.objects.filter(label="old-1").update(quarantined_at=now, resolved_at=now)
    Finding.objects.filter(label__in=["old-3", "old-4"]).update(row_id=uuid.uuid4())
    Finding.objects.filter(label="old-4").update(trouble="API Gateway answered 503.")
    found = {"open": {"old-2", "old-4"}, "repairing": {"old-3"}, "quarantine": {"old-0"}, "resolved": {"old-1"}}

    for state, labels in found.items():
        listed = staff.get(FINDINGS, {"state": state}).context["cl"].result_list
        assert {each.label for each in listed} == labels
        assert {each.state.value for each in listed} == {state}


def test_finding_says_what_became_of_its_repair(staff: Client) -> None:
    make_run(findings=1)
    Finding.objects.update(row_id=uuid.uuid4())
    url = f"{FINDINGS}{Finding.objects.get().pk}/change/"
    pages = [FINDINGS, url, f"/staff/keys/gateway/{Finding.objects.get().gateway_id}/change/"]

    def shown(*words: str) -> None:
        for page in pages:
            text = staff.get(page).content.decode()
            assert all(word in text for word in words), (page, words)

    shown("Being repaired")
    Finding.objects.update(trouble="API Gateway answered 503.")
    shown("Open", "API Gateway answered 503.")
    Finding.objects.update(trouble="", resolved_at=timezone.now())
    shown("Repaired")


def test_finding_in_quarantine_says_so(staff: Client) -> None:
    make_run(findings=1)
    Finding.objects.update(quarantined_at=timezone.now())

    assert "In quarantine" in staff.get(FINDINGS).content.decode()


@pytest.mark.parametrize("rows", [1, 3])
def test_lists_take_the_same_queries_for_any_rows(staff: Client, django_assert_num_queries: DjangoAssertNumQueries, rows: int) -> None:
    for _ in range(rows):
        make_run(findings=2)
    staff.get(RUNS)

    with django_assert_num_queries(5):
        staff.get(RUNS)
    with django_assert_num_queries(6):
        staff.get(FINDINGS)
