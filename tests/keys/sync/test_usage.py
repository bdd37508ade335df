"""What was called is read a day and key; reading again changes nothing."""

from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone

from keys.gateway.client import GatewayClient
from keys.gateway.types import KeyUsage
from keys.models import Gateway, GatewayKey, QuotaPeriod, Stage, Tier, UsageDay, UsagePlan
from keys.selectors import usage_of_period
from keys.sync.converge import converge
from keys.sync.session import speak_to
from keys.sync.usage import _rows, first_day, read_usage
from tests.keys.sync.conftest import value_of
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)


@pytest.fixture
def _due(settings: Any) -> None:
    settings.USAGE_SECONDS = 0


@pytest.mark.usefixtures("_due")
def test_calls_are_counted_and_reading_again_changes_nothing(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    key = GatewayKey.objects.get(pk=bought.gateway_key_id)
    for _ in range(4):
        assert sandbox.invoke(value_of(key)).status == 200

    converge(converged.pk)

    day = UsageDay.objects.get()
    assert (day.gateway_key, day.date, day.used, day.remaining) == (key, timezone.now().date(), 4, 1996)
    bought.refresh_from_db()
    assert usage_of_period(bought, timezone.now()).used == 4

    converge(converged.pk)

    again = UsageDay.objects.get()
    assert (again.pk, again.used, again.remaining) == (day.pk, 4, 1996)
    assert again.read_at > day.read_at
    converged.refresh_from_db()
    assert converged.usage_read_at == again.read_at


@pytest.mark.usefixtures("_due")
def test_tier_without_quota_has_nothing_left_to_tell(converged: Gateway, stage: object) -> None:
    make_tier(stage=stage, pool_size=1, quota_limit=None, quota_period="")

    converge(converged.pk)

    assert UsageDay.objects.get().remaining is None


@pytest.mark.usefixtures("_due")
def test_figures_outlive_a_gateway_that_lost_them(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    UsageDay.objects.all().delete()
    UsageDay.objects.create(
        gateway_key_id=bought.gateway_key_id, date=timezone.now().date() - timedelta(days=1), used=7, remaining=1, read_at=timezone.now()
    )

    converge(converged.pk)

    assert UsageDay.objects.get(used=7).remaining == 1


@pytest.mark.usefixtures("_due")
def test_failure_puts_it_off_without_holding_up_the_rest(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    buy(make_tenant(), tier)
    sandbox.fault(kind="error", status=400, code="BadRequestException", message="No", operation="GetUsage")

    converge(converged.pk)

    assert UsageDay.objects.count() == 0
    assert not any(key.is_pending for key in GatewayKey.objects.all())


@pytest.mark.usefixtures("_due")
def test_days_on_which_a_plan_could_not_be_read_are_read_afterwards(converged: Gateway, tier: Tier, sandbox: SandboxProcess) -> None:
    bought = buy(make_tenant(), tier)
    converge(converged.pk)
    plan = UsagePlan.objects.get()
    UsagePlan.objects.update(usage_read_at=timezone.now() - timedelta(days=4))
    sandbox.fault(kind="error", status=403, code="AccessDeniedException", message="No", operation="GetUsage")
    for days in (3, 2, 0):  # a reading a day that fails
        sandbox.clock(offset=-days * 86_400)
        assert sandbox.invoke(value_of(GatewayKey.objects.get(pk=bought.gateway_key_id))).status == 200
        converge(converged.pk)
    converged.refresh_from_db()
    assert converged.usage_read_at is not None
    assert UsageDay.objects.filter(used__gt=0).count() == 0

    sandbox.clear_faults()
    converge(converged.pk)

    today = timezone.now().date()
    days_read = UsageDay.objects.filter(used=1).order_by("date").values_list("date", flat=True)
    assert list(days_read) == [today - timedelta(days=days) for days in (3, 2, 0)]
    plan.refresh_from_db()
    converged.refresh_from_db()
    assert plan.usage_read_at == converged.usage_read_at


@pytest.mark.usefixtures("_due")
def test_plan_that_was_read_is_read_from_yesterday_on(
    converged: Gateway, stage: object, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = buy(make_tenant(), make_tier(stage=stage, quota_period="MONTH"))
    starts, get_usage = [], GatewayClient.get_usage

    def watched(self: GatewayClient, plan_id: str, start: date, end: date) -> list[KeyUsage]:
        starts.append(start)
        return get_usage(self, plan_id, start, end)

    monkeypatch.setattr(GatewayClient, "get_usage", watched)
    for _reading in range(2):
        UsagePlan.objects.update(created_at=timezone.now() - timedelta(days=40))
        converge(converged.pk)

    today = timezone.now().date()
    assert sorted(starts) == [today - timedelta(days=41), *[today - timedelta(days=1)] * 3]  # one of two plans was read before
    assert UsageDay.objects.filter(gateway_key=bought.gateway_key_id, date=today).exists()


@pytest.mark.usefixtures("_due")
def test_what_is_urgent_goes_first_between_the_parts_of_a_reading(
    converged: Gateway, tier: Tier, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _key in range(3):
        buy(make_tenant(), tier)
    converge(converged.pk)
    UsageDay.objects.all().delete()
    monkeypatch.setattr("keys.sync.usage._CHUNK", 1)
    monkeypatch.setattr("keys.sync.session.LOOK_SECONDS", 0)
    written = []

    with speak_to(converged.pk) as session:
        assert session is not None
        session.interrupt = lambda _session: written.append(UsageDay.objects.count())
        read_usage(session)

    assert {1, 2} <= set(written)


@pytest.mark.parametrize(
    ("period", "created_at", "read_at", "start"),
    [
        (QuotaPeriod.DAY, NOW, None, date(2026, 7, 14)),
        (QuotaPeriod.WEEK, NOW, None, date(2026, 7, 13)),
        (QuotaPeriod.MONTH, NOW, None, date(2026, 7, 1)),
        ("", NOW, None, date(2026, 7, 1)),
        (QuotaPeriod.DAY, NOW - timedelta(days=30), None, date(2026, 6, 14)),
        (QuotaPeriod.MONTH, NOW - timedelta(days=30), NOW, date(2026, 7, 14)),
        (QuotaPeriod.MONTH, NOW - timedelta(days=30), NOW - timedelta(days=20), date(2026, 6, 24)),
        (QuotaPeriod.DAY, NOW - timedelta(days=500), NOW - timedelta(days=5), date(2026, 7, 9)),
        (QuotaPeriod.DAY, NOW - timedelta(days=500), NOW - timedelta(days=400), date(2026, 4, 17)),
        (QuotaPeriod.DAY, NOW - timedelta(days=500), None, date(2026, 4, 17)),
    ],
)
def test_first_day_covers_what_was_missed(period: str, created_at: datetime, read_at: datetime | None, start: date) -> None:
    plan = UsagePlan(tier=Tier(quota_period=period), created_at=created_at, usage_read_at=read_at)

    assert first_day(plan, NOW) == start
    assert (NOW.date() - start).days < 90


def test_figures_are_found_by_id_and_by_value() -> None:
    one, two = GatewayKey().pk, GatewayKey().pk
    today = NOW.date()
    usage = [
        KeyUsage("id1", "", ((today - timedelta(days=1), 0, 20), (today, 0, 20))),
        KeyUsage("", "digest", ((today - timedelta(days=1), 3, 17), (today, 1, 16))),
        KeyUsage("foreign", "", ((today, 9, 9),)),
    ]

    rows = list(_rows(usage, {"id1": one}, {"digest": two}, today, NOW, has_quota=True))

    assert [(row.gateway_key_id, row.date.day, row.used, row.remaining) for row in rows] == [
        (one, 15, 0, 20),
        (two, 14, 3, 17),
        (two, 15, 1, 16),
    ]


def test_when_a_plan_was_read_is_taken_from_its_figures(converged: Gateway, stage: Stage) -> None:
    """By the migration: a plan that could not be read since is read from there."""
    make_tier(stage=stage)
    bought = buy(make_tenant(), Tier.objects.earliest("position"))
    for days in (5, 4):
        read_at = NOW - timedelta(days=days)
        UsageDay.objects.create(gateway_key_id=bought.gateway_key_id, date=read_at.date(), used=1, read_at=read_at)
    UsagePlan.objects.update(usage_read_at=None)

    import_module("keys.migrations.0016_usage_read").as_its_figures_say(apps, None)

    read = dict(UsagePlan.objects.values_list("tier", "usage_read_at"))
    assert read.pop(bought.tier_id) == NOW - timedelta(days=4)
    assert set(read.values()) == {None}
