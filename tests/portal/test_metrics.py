"""What monitoring reads at /metrics."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from keys import values
from keys.models import CallCount, Finding, FindingKind, Gateway, GatewayKey, KeyRole, Priority, ReconcileRun, UsagePlan
from keys.stock import make
from tests.support.factories import bring_into_service, buy, make_stage, make_tenant, make_tier

TOKEN = "a-token-that-only-monitoring-knows"


@pytest.fixture
def _token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def scraped(client: Client) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric and labels, as Prometheus's own parser reads them."""
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            found.setdefault(sample.name.removeprefix("tollgate_"), {})[tuple(sample.labels.values())] = sample.value
    return found


def test_without_a_token_in_the_settings_there_is_no_such_page(client: Client, db: None) -> None:
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ü"], ids=["none", "wrong", "basic", "bare", "ü"])
@pytest.mark.usefixtures("_token")
def test_only_who_has_the_token_reads(client: Client, db: None, header: str) -> None:
    answer = client.get("/metrics", headers={"Authorization": header} if header else {})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    assert b"tollgate_" not in answer.content


@pytest.mark.usefixtures("_token")
def test_an_empty_portal_has_figures_too(client: Client, db: None) -> None:
    assert scraped(client)["oldest_pending_seconds"] == {(): 0.0}


@pytest.mark.usefixtures("_token")
def test_figures_are_those_of_the_rows(client: Client, db: None, settings: Any) -> None:
    settings.CANARY_SECONDS = 300
    stage = make_stage()
    gateway = stage.gateway
    siloed, pooled = make_tier(stage=stage, slug="solo"), make_tier(stage=stage, slug="shared", pool_size=2)
    for _ in range(3):
        buy(make_tenant(), pooled)
    make([siloed.usage_plans.get()], 1, KeyRole.CANARY, Priority.SPARE)
    bring_into_service()
    buy(make_tenant(), siloed)
    now = timezone.now()
    UsagePlan.objects.filter(tier=siloed).update(canary_checked_at=now, canary_failures=2)
    Gateway.objects.update(foreign_keys=5, pace=0.5, failures=3, resume_at=now + timedelta(minutes=1))
    CallCount.objects.create(gateway=gateway, operation="GetApiKeys", hour=now, calls=10, throttled=2, failed=1)
    CallCount.objects.create(gateway=gateway, operation="GetApiKeys", hour=now - timedelta(days=1), calls=90)
    run = ReconcileRun.objects.create(gateway=gateway)
    Finding.objects.create(run=run, gateway=gateway, kind=FindingKind.EXTRA, subject="gateway key")
    Finding.objects.create(run=run, gateway=gateway, kind=FindingKind.MISSING, subject="gateway key", resolved_at=now)

    found = scraped(client)

    here = (gateway.name,)
    assert (found["gateway_keys_held"][here], found["gateway_foreign_keys"][here]) == (4, 5)
    assert found["gateway_headroom"][here] == gateway.capacity - 9
    assert found["pending_keys"] == {(gateway.name, "purchase"): 1}
    assert found["gateway_calls_total"] == {
        (gateway.name, "GetApiKeys", "ok"): 7,
        (gateway.name, "GetApiKeys", "throttled"): 2,
        (gateway.name, "GetApiKeys", "failed"): 1,
    }
    assert (found["gateway_pace"][here], found["gateway_breaker_open"][here], found["gateway_failures"][here]) == (0.5, 1, 3)
    assert found["canary_up"] == {(gateway.name, "solo"): 0}
    assert found["findings_open"] == {(gateway.name, "extra"): 1}
    assert (found["pool_load_max"][("shared",)], found["pool_load_min"][("shared",)]) == (2, 1)
    assert found["rows_waiting_for_a_person"] == {(): 0}


@pytest.mark.usefixtures("_token")
def test_the_number_of_queries_does_not_grow_with_the_keys(client: Client, db: None, django_assert_max_num_queries: Any) -> None:
    stage = make_stage()
    for _ in range(3):
        buy(make_tenant(), make_tier(stage=stage))
        make_tier(stage=stage, pool_size=2)

    with django_assert_max_num_queries(16):
        scraped(client)


@pytest.mark.usefixtures("_token")
def test_no_value_is_told(client: Client, db: None) -> None:
    buy(make_tenant(), make_tier())

    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).content.decode()

    key = GatewayKey.objects.get()
    assert values.decrypt(key.value_encrypted) not in answer
    assert key.value_sha256 not in answer
