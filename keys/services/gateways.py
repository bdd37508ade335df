"""Gateways and stages as staff register them."""

from typing import TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from keys.models import Gateway, Room, Stage, UsagePlan
from keys.models.gateway import AWS_KEY_CAP
from keys.services.bell import ring
from keys.services.intent import want_each
from tenants.audit import Actor, record


class UnableToChangeGateway(Exception):
    """A change that was refused; the message names what to mend."""


def register_gateway(
    *,
    name: str,
    account_id: str,
    region: str,
    propagation_seconds: int = 60,
    capacity: int = AWS_KEY_CAP,
    role_arn: str = "",
    external_id: str = "",
    actor: Actor,
) -> Gateway:
    """Make an AWS account and Region known. Nothing is sent there. Raises UnableToChangeGateway."""
    gateway = Gateway(name=name, account_id=account_id, region=region, propagation_seconds=propagation_seconds, capacity=capacity)
    gateway.role_arn, gateway.external_id = role_arn, external_id
    _check_role(gateway)
    with transaction.atomic():
        _save(gateway)
        Room.objects.create(gateway=gateway)
        data = {"account": account_id, "region": region, "role": role_arn}
        record(actor=actor, action="gateway.registered", target=gateway, data=data)
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


class Changes(TypedDict, total=False):
    """What staff can change of a gateway; what is left out stays as it is."""

    name: str
    propagation_seconds: int
    capacity: int
    accepts_keys: bool
    uses_imports: bool
    role_arn: str
    external_id: str


def change_gateway(*, gateway: Gateway, actor: Actor, **changes: Unpack[Changes]) -> Gateway:
    """Change what staff decide of a gateway. Raises UnableToChangeGateway."""
    with transaction.atomic():
        gateway = Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)
        before = {field: getattr(gateway, field) for field in changes}
        for field, value in changes.items():
            setattr(gateway, field, value)
        _check_role(gateway)
        if gateway.draining_since is not None and gateway.accepts_keys:
            raise UnableToChangeGateway(_("accepts_keys: This gateway is drained. End that first, and it takes new keys again."))
        after = {field: getattr(gateway, field) for field in changes}
        if after != before:
            _save(gateway, *changes)
            record(actor=actor, action="gateway.changed", target=gateway, data={"before": before, "after": after})
    return gateway


def request_check(*, gateway: Gateway, actor: Actor) -> None:
    """Ask what the workers may do on the gateway: about a dozen calls that change nothing."""
    with transaction.atomic():
        Gateway.objects.filter(pk=gateway.pk).update(check_requested_at=Now())
        record(actor=actor, action="gateway.check_requested", target=gateway)
        ring(gateway.pk)


def request_reconcile(*, gateway: Gateway, actor: Actor, dry_run: bool = False) -> None:
    """Ask that everything on the gateway be compared now and, unless ``dry_run``, repaired."""
    with transaction.atomic():
        asked = {"dry_run_requested_at" if dry_run else "reconcile_requested_at": Now()}
        Gateway.objects.filter(pk=gateway.pk).update(**asked)
        action = "gateway.comparison_requested" if dry_run else "gateway.reconcile_requested"
        record(actor=actor, action=action, target=gateway)
        ring(gateway.pk)


def try_again(*, gateway: Gateway, actor: Actor) -> None:
    """Let rows that wait for a person, or for a later try, be tried now: for when the cause was mended."""
    with transaction.atomic():
        # A worker that leaves the gateway alone after failures makes one try when somebody asks for a comparison. The gateway's row
        # first, as everybody who writes many of its keys: nobody then waits for keys of somebody who waits for ours.
        Gateway.objects.filter(pk=gateway.pk).update(reconcile_requested_at=Now())
        want_each(UsagePlan.objects.filter(gateway=gateway).exclude(last_error=""), [])
        want_each(gateway.gateway_keys.filter(removed_at=None).exclude(last_error=""), [])
        record(actor=actor, action="gateway.retried", target=gateway)
        ring(gateway.pk)


def _check_role(gateway: Gateway) -> None:
    """A role is of the account that it opens."""
    if gateway.role_arn and f"::{gateway.account_id}:" not in gateway.role_arn:
        words = _("role_arn: The role is of another AWS account than the gateway, which is in %(account)s.")
        raise UnableToChangeGateway(words % {"account": gateway.account_id})
    if gateway.external_id and not gateway.role_arn:
        raise UnableToChangeGateway(_("external_id: An external id belongs to a role. Name the role, or leave the external id out."))


def _save(row: Model, *fields: str) -> None:
    try:
        row.full_clean()
    except ValidationError as error:
        sentences = (
            " ".join(messages) if field == "__all__" else f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()
        )
        raise UnableToChangeGateway(" ".join(sentences)) from error
    row.save(update_fields=fields or None)
