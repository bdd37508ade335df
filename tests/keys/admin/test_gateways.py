from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from keys.models import CallCount, Finding, Gateway, GatewayKey, ReconcileRun, Stage, UsagePlan
from tenants.models import AuditEvent
from tests.keys.admin.conftest import messages_of
from tests.support.factories import bring_into_service, buy, make_gateway, make_stage, make_tenant, make_tier

pytestmark = pytest.mark.django_db

LIST = "/staff/keys/gateway/"
ADD = "/staff/keys/gateway/add/"


def url_of(gateway: Gateway, page: str = "change") -> str:
    return f"/staff/keys/gateway/{gateway.pk}/{page}/"


def stages(*rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    """What the table of stages sends; each row may leave fields out."""
    inputs: dict[str, Any] = {"stages-TOTAL_FORMS": len(rows), "stages-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        inputs |= {f"stages-{number}-{field}": value for field, value in row.items()}
    return inputs


def new_stage(**fields: Any) -> dict[str, Any]:
    return {"rest_api_id": "abc", "name": "v1", "invoke_url": "https://api.example.com/v1/", "test_path": "/api", **fields}


def new_inputs(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    gateway = {"name": "Frankfurt", "account_id": "123456789012", "region": "eu-central-1", "capacity": 10000, "propagation_seconds": 60}
    return {**gateway, **stages(*rows), **changes}


def inputs_of(gateway: Gateway, *rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    known = [
        {"id": stage.pk, "gateway": gateway.pk, "invoke_url": stage.invoke_url, "test_path": stage.test_path}
        for stage in gateway.stages.order_by("pk")
    ]
    fields = {
        "name": gateway.name,
        "capacity": gateway.capacity,
        "propagation_seconds": gateway.propagation_seconds,
        "accepts_keys": "on",
        "uses_imports": "on",
    }
    return {**fields, **stages(*known, *rows, initial=len(known)), **changes}


def test_added_gateway_has_its_stage(staff: Client) -> None:
    response = staff.post(ADD, new_inputs(new_stage()), follow=True)

    gateway = Gateway.objects.get()
    assert response.redirect_chain[-1][0] == url_of(gateway)
    assert (gateway.region, gateway.stages.get().invoke_url) == ("eu-central-1", "https://api.example.com/v1")
    actions = AuditEvent.objects.order_by("created_at").values_list("action", "actor_label")
    assert list(actions) == [("gateway.registered", "sam@example.com"), ("stage.registered", "sam@example.com")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account_id": "12"}, "An AWS account id has 12 digits."),
        ({"region": "Frankfurt"}, "Write a Region as us-east-1."),
        ({"capacity": 0}, "A gateway has room for at least 1 key."),
        ({"name": ""}, "This field is required."),
    ],
)
def test_bad_gateway_is_refused_with_its_inputs_kept(staff: Client, changes: dict[str, Any], words: str) -> None:
    page = staff.post(ADD, new_inputs(propagation_seconds=77, **changes)).content.decode()

    assert words in page
    assert 'value="77"' in page
    assert not Gateway.objects.exists()


def test_gateway_with_a_bad_stage_is_not_made_at_all(staff: Client) -> None:
    page = staff.post(ADD, new_inputs(new_stage(test_path="api"))).content.decode()

    assert "Begin the path with a slash, as /api." in page
    assert not Gateway.objects.exists()
    assert not AuditEvent.objects.exists()


def test_changed_gateway_is_audited(staff: Client) -> None:
    gateway = make_gateway()

    staff.post(url_of(gateway), inputs_of(gateway, name="Renamed", accepts_keys=""))

    gateway.refresh_from_db()
    assert (gateway.name, gateway.accepts_keys) == ("Renamed", False)
    assert AuditEvent.objects.get(action="gateway.changed").data["after"]["accepts_keys"] is False


def test_account_and_observed_columns_cannot_be_written(staff: Client) -> None:
    gateway = make_gateway(region="us-east-1")

    staff.post(url_of(gateway), inputs_of(gateway, region="eu-west-1", account_id="999999999999", failures=7, lease_owner="me"))

    gateway.refresh_from_db()
    assert (gateway.region, gateway.failures, gateway.lease_owner) == ("us-east-1", 0, "")
    assert gateway.account_id != "999999999999"


def test_stage_is_added_on_the_page_of_its_gateway(staff: Client) -> None:
    stage = make_stage()

    staff.post(url_of(stage.gateway), inputs_of(stage.gateway, new_stage(gateway=stage.gateway.pk)))

    assert Stage.objects.filter(gateway=stage.gateway).count() == 2
    assert AuditEvent.objects.get(action="stage.registered", actor__isnull=False).data["invoke_url"] == "https://api.example.com/v1"


def test_stage_is_changed_but_not_renamed(staff: Client) -> None:
    stage = make_stage(rest_api_id="abc", name="v1")
    inputs = inputs_of(stage.gateway) | {"stages-0-invoke_url": "https://new.example.com/v1", "stages-0-name": "v9"}

    staff.post(url_of(stage.gateway), inputs)

    stage.refresh_from_db()
    assert (stage.name, stage.invoke_url) == ("v1", "https://new.example.com/v1")
    assert AuditEvent.objects.filter(action="stage.changed").count() == 1


def test_second_stage_of_a_name_is_refused_with_its_inputs_kept(staff: Client) -> None:
    stage = make_stage(rest_api_id="abc", name="v1")

    page = staff.post(url_of(stage.gateway), inputs_of(stage.gateway, new_stage(gateway=stage.gateway.pk))).content.decode()

    assert "Please correct the duplicate" in page
    assert "https://api.example.com/v1/" in page
    assert Stage.objects.count() == 1


def test_reconcile_now_asks_for_it_at_once(staff: Client) -> None:
    gateway = make_gateway()
    assert "Compare and repair" in staff.get(url_of(gateway)).content.decode()

    response = staff.post(url_of(gateway, "reconcile"), follow=True)

    gateway.refresh_from_db()
    assert gateway.reconcile_requested_at is not None
    assert AuditEvent.objects.get(action="gateway.reconcile_requested").actor_label == "sam@example.com"
    assert "is compared and repaired" in messages_of(response)
    assert "Asked for, not done yet" in response.content.decode()


def test_reconcile_page_says_how_long_strays_are_kept(staff: Client, settings: Any) -> None:
    settings.QUARANTINE_SECONDS = 3 * 86400

    page = staff.get(url_of(make_gateway(), "reconcile")).content.decode()

    assert "are disabled, and deleted 3 d 0 h later." in page


def test_comparison_that_changes_nothing_is_asked_for_at_once(staff: Client) -> None:
    gateway = make_gateway()
    assert "Compare only" in staff.get(url_of(gateway)).content.decode()

    response = staff.post(url_of(gateway, "compare"), follow=True)

    gateway.refresh_from_db()
    assert (gateway.dry_run_requested_at is not None, gateway.reconcile_requested_at) == (True, None)
    assert AuditEvent.objects.get(action="gateway.comparison_requested").actor_label == "sam@example.com"
    assert "nothing is changed" in messages_of(response)


def test_reconcile_is_not_asked_for_by_a_mere_look(staff: Client) -> None:
    gateway = make_gateway()

    staff.get(url_of(gateway, "reconcile"))

    gateway.refresh_from_db()
    assert gateway.reconcile_requested_at is None


def test_try_again_forgets_failures(staff: Client) -> None:
    make_tier(pool_size=1)
    GatewayKey.objects.update(permanent=True, last_error="Refused.", attempts=3)
    gateway = Gateway.objects.get()

    staff.post(url_of(gateway, "try-again"))

    key = GatewayKey.objects.get()
    assert (key.permanent, key.attempts, key.revision) == (False, 0, 2)
    assert AuditEvent.objects.get(action="gateway.retried").actor_label == "sam@example.com"


def test_actions_of_the_list_do_it_for_several(staff: Client) -> None:
    chosen = [make_gateway().pk, make_gateway().pk]
    other = make_gateway()

    staff.post(LIST, {"action": "compare_now", "_selected_action": chosen})
    staff.post(LIST, {"action": "reconcile_now", "_selected_action": chosen})
    staff.post(LIST, {"action": "try_again_now", "_selected_action": chosen})

    assert Gateway.objects.filter(reconcile_requested_at__isnull=False, dry_run_requested_at__isnull=False).count() == 2
    other.refresh_from_db()
    assert other.reconcile_requested_at is None
    assert AuditEvent.objects.filter(action="gateway.retried").count() == 2


def test_list_shows_headroom_lease_breaker_and_error(staff: Client) -> None:
    make_tier(pool_size=3)
    now = timezone.now()
    Gateway.objects.update(
        capacity=4,
        lease_owner="worker-7",
        lease_expires_at=now + timedelta(minutes=5),
        failures=6,
        resume_at=now + timedelta(minutes=9),
        last_error="API Gateway refuses our credentials.",
        last_error_at=now,
    )

    page = staff.get(LIST).content.decode()

    for words in ("3 of 4", "75 %", "worker-7", "for 4 min", "Open for 8 min", "API Gateway refuses our credentials."):
        assert words in page


def test_lease_that_ran_out_is_nobodys(staff: Client) -> None:
    make_gateway()
    Gateway.objects.update(lease_owner="worker-7", lease_expires_at=timezone.now() - timedelta(seconds=1))

    page = staff.get(LIST).content.decode()

    assert "worker-7" not in page
    assert "Nobody" in page


def test_page_shows_plans_runs_and_findings(staff: Client) -> None:
    make_tier(name="Basic")
    gateway = Gateway.objects.get()
    run = ReconcileRun.objects.create(gateway=gateway, ended_at=timezone.now(), keys_listed=12)
    Finding.objects.create(run=run, gateway=gateway, kind="missing", subject="gateway key", detail="Not listed.", action="Sent again.")

    response = staff.get(url_of(gateway))

    page = response.content.decode()
    assert [state.word for state in response.context["plan_states"]] == ["Pending"]
    for words in ("Basic", "Drift found", "Not listed.", "Sent again."):
        assert words in page


def test_plan_that_failed_shows_its_error(staff: Client) -> None:
    make_tier()
    UsagePlan.objects.update(last_error="The stage groceries:v1 does not exist.", permanent=True)

    page = staff.get(url_of(Gateway.objects.get())).content.decode()

    assert "Needs a person" in page
    assert "The stage groceries:v1 does not exist." in page


@pytest.mark.parametrize("rows", [1, 3])
def test_list_takes_the_same_queries_for_any_rows(staff: Client, django_assert_num_queries: DjangoAssertNumQueries, rows: int) -> None:
    for _ in range(rows):
        make_tier(stage=make_stage(make_gateway()), pool_size=2)
    bring_into_service()
    staff.get(LIST)

    with django_assert_num_queries(5):
        staff.get(LIST)


def test_page_says_what_waits_at_which_pace_and_what_was_called(staff: Client) -> None:
    gateway = make_gateway()
    make_tier(gateways=[gateway], pool_size=3)
    Gateway.objects.update(pace=0.42)
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for operation, calls, throttled in (("GetApiKeys", 1240, 3), ("ImportApiKeys", 12, 0), ("DeleteApiKey", 40, 0)):
        CallCount.objects.create(gateway=gateway, operation=operation, hour=hour, calls=calls, throttled=throttled)

    page = staff.get(url_of(gateway)).content.decode()

    assert "3 keys, 1 usage plan, about 5 s" in page
    assert "42 % of what AWS allows" in page
    assert "GetApiKeys: 1,240, of which 3 answered 429<br>DeleteApiKey: 40<br>ImportApiKeys: 12" in page


def test_rights_and_drain_are_shown_and_asked_for(staff: Client) -> None:
    here = make_gateway(name="Here")
    make_stage(here)
    tier = make_tier(gateways=[here], spare_target=2)
    buy(make_tenant(), tier)
    make_tier(gateways=[here], pool_size=2)
    bring_into_service()
    page = f"/staff/keys/gateway/{here.pk}"
    assert "Not drained" in staff.get(f"{page}/change/").content.decode()

    staff.post(f"{page}/check/")
    assert "Asked for, not checked yet" in staff.get(f"{page}/change/").content.decode()
    missing = [{"operation": name, "words": f"apigateway:{name}: lost"} for name in ("DeleteApiKey", "GetUsage")]
    Gateway.objects.filter(pk=here.pk).update(permissions_checked_at=timezone.now(), permissions_missing=missing)

    assert "cannot move" in staff.get(f"{page}/drain/").content.decode()
    staff.post(f"{page}/drain/")
    shown = staff.get(f"{page}/change/").content.decode()
    for words in ("apigateway:DeleteApiKey: lost", "apigateway:GetUsage: lost", "keys left", "1 siloed API key: it stays", "2 pool keys"):
        assert words in shown
    asked = staff.get(f"{page}/move-siloed/").content.decode()
    assert "7 days" in asked
    assert "1 siloed API key is on this gateway, and 1 cannot move for now." in asked
    moving = staff.post(f"{page}/move-siloed/", follow=True).content.decode()
    assert "The workers move the siloed API keys of Here now" in moving
    assert "1 siloed API key: it moves" in moving
    assert "Move siloed keys" not in moving

    staff.post(f"{page}/undrain/")
    assert Gateway.objects.get(pk=here.pk).accepts_keys
