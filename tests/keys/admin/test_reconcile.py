import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from keys.models import Finding, ReconcileRun
from tests.support.factories import make_gateway

pytestmark = pytest.mark.django_db

RUNS = "/staff/keys/reconcilerun/"
FINDINGS = "/staff/keys/finding/"


def make_run(*, findings: int = 0, error: str = "", ended: bool = True) -> ReconcileRun:
    run = ReconcileRun.objects.create(gateway=make_gateway(), ended_at=timezone.now() if ended else None, error=error)
    for number in range(findings):
        Finding.objects.create(
            run=run, gateway=run.gateway, kind="extra", subject="gateway key", label=f"old-{number}", detail="Unknown.", action="Disabled."
        )
    return run


@pytest.mark.parametrize(
    ("outcome", "word"), [("clean", "In step"), ("drift", "Drift found"), ("failed", "Failed"), ("running", "Running")]
)
def test_filter_agrees_with_the_outcome_that_is_shown(staff: Client, outcome: str, word: str) -> None:
    runs = {
        "clean": make_run(),
        "drift": make_run(findings=2),
        "failed": make_run(error="Refused."),
        "running": make_run(ended=False),
    }

    response = staff.get(RUNS, {"outcome": outcome})

    assert list(response.context["cl"].result_list) == [runs[outcome]]
    assert f"</span>{word}" in response.content.decode() or f'">{word}</span>' in response.content.decode()


def test_findings_are_found_by_name(staff: Client) -> None:
    make_run(findings=2)

    assert [finding.label for finding in staff.get(FINDINGS, {"q": "old-1"}).context["cl"].result_list] == ["old-1"]


def test_filter_finds_what_became_of_findings(staff: Client) -> None:
    make_run(findings=3)
    now = timezone.now()
    Finding.objects.filter(label="old-0").update(quarantined_at=now)
    Finding.objects.filter(label="old-1").update(quarantined_at=now, resolved_at=now)
    found = {"open": "old-2", "quarantine": "old-0", "resolved": "old-1"}

    for state, label in found.items():
        assert [each.label for each in staff.get(FINDINGS, {"state": state}).context["cl"].result_list] == [label]


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
