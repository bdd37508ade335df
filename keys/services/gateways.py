"""Gateways and stages as staff register them."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from keys.models import Gateway, Stage, UsagePlan
from keys.models.gateway import AWS_KEY_CAP
from keys.services.bell import ring
from keys.services.intent import want
from tenants.audit import Actor, record


class UnableToChangeGateway(Exception):
    """A change that was refused; the message names what to mend."""


def register_gateway(
    *, name: str, account_id: str, region: str, propagation_seconds: int = 60, capacity: int = AWS_KEY_CAP, actor: Actor
) -> Gateway:
    """Make an AWS account and Region known. Nothing is sent there. Raises UnableToChangeGateway."""
    gateway = Gateway(name=name, account_id=account_id, region=region, propagation_seconds=propagation_seconds, capacity=capacity)
    with transaction.atomic():
        _save(gateway)
        record(actor=actor, action="gateway.registered", target=gateway, data={"account": account_id, "region": region})
    return gateway


def register_stage(*, gateway: Gateway, rest_api_id: str, name: str, invoke_url: str, test_path: str = "/api", actor: Actor) -> Stage:
    """Make a deployed stage known; tiers can then serve it. Raises UnableToChangeGateway."""
    stage = Stage(gateway=gateway, rest_api_id=rest_api_id, name=name, invoke_url=invoke_url.rstrip("/"), test_path=test_path)
    with transaction.atomic():
        _save(stage)
        record(actor=actor, action="stage.registered", target=stage, data={"gateway": gateway.name, "invoke_url": stage.invoke_url})
    return stage


def change_stage(*, stage: Stage, invoke_url: str, test_path: str, actor: Actor) -> Stage:
    """Change what tenants call: the pages show it at once. Raises UnableToChangeGateway."""
    with transaction.atomic():
        stage = Stage.objects.select_for_update(no_key=True).get(pk=stage.pk)
        before = {"invoke_url": stage.invoke_url, "test_path": stage.test_path}
        stage.invoke_url, stage.test_path = invoke_url.rstrip("/"), test_path
        _save(stage)
        after = {"invoke_url": stage.invoke_url, "test_path": stage.test_path}
        if after != before:
            record(actor=actor, action="stage.changed", target=stage, data={"before": before, "after": after})
    return stage


def change_gateway(*, gateway: Gateway, name: str, propagation_seconds: int, capacity: int, accepts_keys: bool, actor: Actor) -> Gateway:
    """Change a gateway's name, propagation time, key cap, and whether it takes new keys. Raises UnableToChangeGateway."""
    fields = ("name", "propagation_seconds", "capacity", "accepts_keys")
    with transaction.atomic():
        gateway = Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)
        before = {field: getattr(gateway, field) for field in fields}
        gateway.name, gateway.propagation_seconds = name, propagation_seconds
        gateway.capacity, gateway.accepts_keys = capacity, accepts_keys
        _save(gateway, *fields)
        after = {field: getattr(gateway, field) for field in fields}
        if after != before:
            record(actor=actor, action="gateway.changed", target=gateway, data={"before": before, "after": after})
    return gateway


def request_reconcile(*, gateway: Gateway, actor: Actor) -> None:
    """Ask that everything on the gateway be compared and repaired now."""
    with transaction.atomic():
        Gateway.objects.filter(pk=gateway.pk).update(reconcile_requested_at=timezone.now())
        record(actor=actor, action="gateway.reconcile_requested", target=gateway)
        ring(gateway.pk)


def try_again(*, gateway: Gateway, actor: Actor) -> None:
    """Let rows that wait for a person, or for a later try, be tried now: for when the cause was mended."""
    with transaction.atomic():
        # A worker that leaves the gateway alone after failures makes one try when somebody asks for a comparison. The gateway's row
        # first, as everybody who writes many of its keys: nobody then waits for keys of somebody who waits for ours.
        Gateway.objects.filter(pk=gateway.pk).update(reconcile_requested_at=timezone.now())
        for plan in UsagePlan.objects.filter(gateway=gateway).exclude(last_error=""):
            want(plan)
        for gateway_key in gateway.gateway_keys.filter(removed_at=None).exclude(last_error=""):
            want(gateway_key)
        record(actor=actor, action="gateway.retried", target=gateway)
        ring(gateway.pk)


def _save(row: Model, *fields: str) -> None:
    try:
        row.full_clean()
    except ValidationError as error:
        sentences = (
            " ".join(messages) if field == "__all__" else f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()
        )
        raise UnableToChangeGateway(" ".join(sentences)) from error
    row.save(update_fields=fields or None)
