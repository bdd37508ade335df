"""What was called is read a day and key; reading again changes nothing."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from keys.gateway.types import KeyUsage
from keys.models import Gateway, GatewayKey, QuotaPeriod, Tier, UsageDay
from keys.selectors import usage_of_period
from keys.sync.converge import converge
from keys.sync.usage import _rows, first_day
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


@pytest.mark.parametrize(
    ("period", "read_at", "start"),
    [
        (QuotaPeriod.DAY, None, date(2026, 7, 14)),
        (QuotaPeriod.WEEK, NOW, date(2026, 7, 13)),
        (QuotaPeriod.MONTH, NOW, date(2026, 7, 1)),
        (QuotaPeriod.DAY, NOW - timedelta(days=5), date(2026, 7, 9)),
        (QuotaPeriod.DAY, NOW - timedelta(days=400), date(2026, 4, 17)),
        ("", NOW, date(2026, 7, 1)),
    ],
)
def test_first_day_covers_the_period_and_what_was_missed(period: str, read_at: datetime | None, start: date) -> None:
    assert first_day(period, read_at, NOW) == start
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
