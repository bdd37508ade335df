"""What a tenant does with its endpoints."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.http import Http404
from django.utils import timezone

from tenants import secret_values
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, DeliveryState, IdempotentAnswer, Tenant, WebhookDelivery, WebhookEndpoint
from tenants.reencryption import reencrypt_all
from tenants.webhooks import endpoints, selectors
from tenants.webhooks.endpoints import UnableToChangeWebhook
from tests.support.processes import at_once
from tests.tenants.webhooks.conftest import ALL, tell

pytestmark = pytest.mark.django_db


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("created_at").values_list("action", flat=True))


def test_registered_with_a_secret_that_is_kept_encrypted(acme: Tenant) -> None:
    endpoint, secret = endpoints.register(
        tenant=acme, url=" https://hooks.example.com/in?key=s3cret ", types=["quota.80", "key.ready"], description=" Ops ", actor=SYSTEM
    )

    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.types, endpoint.description) == (
        "https://hooks.example.com/in?key=s3cret",
        ["key.ready", "quota.80"],
        "Ops",
    )
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret_values.decrypt(endpoint.secret_encrypted) == secret
    event = AuditEvent.objects.get()
    assert (event.action, event.target_label, event.tenant) == ("webhook.registered", "https://hooks.example.com", acme)
    assert "s3cret" not in str(vars(event))
    assert secret not in str(vars(event))


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"types": []}, "types", "at least one"),
        ({"types": ["key.sold"]}, "types", "key.sold is not a type.*key.ready"),
        ({"types": ["webhook.test"]}, "types", "not a type"),
        ({"description": "x" * 201}, "description", "200 characters"),
        ({"url": "ftp://example.com/"}, "url", "https://"),
    ],
)
def test_refusals_name_the_field(acme: Tenant, fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(UnableToChangeWebhook, match=words) as refusal:
        endpoints.register(**{"tenant": acme, "url": "https://example.com/", "types": ALL, "actor": SYSTEM, **fields})

    assert refusal.value.field == field
    assert not WebhookEndpoint.objects.exists()


def test_ten_endpoints_and_no_more(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    made = [register() for _ in range(10)]
    with pytest.raises(UnableToChangeWebhook, match="10 webhooks"):
        register()

    endpoints.delete(endpoint=made[0], actor=SYSTEM)

    register()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_eight_registrations_at_once_keep_the_limit(acme: Tenant) -> None:
    def work(_number: int) -> int:
        made = 0
        for _ in range(3):
            try:
                endpoints.register(tenant=acme, url="https://example.com/", types=ALL, actor=SYSTEM)
            except UnableToChangeWebhook:
                continue
            made += 1
        return made

    assert sum(at_once(work)) == 10


def test_changed_and_audited_without_what_stands_behind_the_host(register: Callable[..., WebhookEndpoint]) -> None:
    endpoint = register("https://a.example.com/s3cret")

    changed = endpoints.change(endpoint=endpoint, url="https://b.example.com/s3cret", types=["quota.100"], actor=SYSTEM)
    endpoints.change(endpoint=endpoint, description="", actor=SYSTEM)  # nothing changes

    assert (changed.url, changed.types) == ("https://b.example.com/s3cret", ["quota.100"])
    assert actions() == ["webhook.registered", "webhook.changed"]
    data = AuditEvent.objects.get(action="webhook.changed").data
    assert data["before"] == {"url": "https://a.example.com", "types": ALL}
    assert data["after"] == {"url": "https://b.example.com", "types": ["quota.100"]}


def test_disable_enable_delete(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    endpoint = register()
    tell(acme)
    for _ in range(2):
        endpoints.disable(endpoint=endpoint, actor=SYSTEM)
    assert tell(acme) is None
    for _ in range(2):
        endpoints.enable(endpoint=endpoint, actor=SYSTEM)

    endpoints.delete(endpoint=endpoint, actor=SYSTEM)

    assert actions() == ["webhook.registered", "webhook.disabled", "webhook.enabled", "webhook.deleted"]
    endpoint.refresh_from_db()
    assert endpoint.secret_encrypted == ""
    assert WebhookDelivery.objects.get().state is DeliveryState.PARKED
    assert list(selectors.endpoints_of(acme)) == []
    with pytest.raises(UnableToChangeWebhook, match="deleted"):
        endpoints.enable(endpoint=endpoint, actor=SYSTEM)


def test_disabled_endpoint_is_sent_nothing(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    endpoint = register()
    tell(acme)
    delivery = WebhookDelivery.objects.get()
    endpoints.disable(endpoint=endpoint, actor=SYSTEM)

    with pytest.raises(UnableToChangeWebhook, match="Enable it first"):
        endpoints.send_test(endpoint=endpoint, actor=SYSTEM)
    with pytest.raises(UnableToChangeWebhook, match="Enable it first"):
        endpoints.replay(delivery=delivery, actor=SYSTEM)


def test_replay_stands_in_line_anew(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    register()
    tell(acme)
    long_ago = timezone.now() - timedelta(days=5)
    WebhookDelivery.objects.update(parked_at=long_ago, created_at=long_ago, attempts=30, next_try_at=long_ago)

    delivery = endpoints.replay(delivery=WebhookDelivery.objects.get(), actor=SYSTEM)

    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, 0)
    assert delivery.created_at > timezone.now() - timedelta(minutes=1)
    assert actions()[-1] == "webhook.replayed"


def test_selectors_keep_tenants_apart(acme: Tenant, outsiders: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    mine, other = register(), register(tenant=outsiders)
    tell(acme), tell(acme, "key-2"), tell(outsiders)
    WebhookDelivery.objects.filter(subject="key-2").update(parked_at=timezone.now())
    delivery = selectors.deliveries_of(mine)[0]

    counts = selectors.counts_of([mine, other])

    assert (counts[mine.pk].waiting, counts[mine.pk].parked, counts[other.pk].waiting) == (1, 1, 1)
    assert selectors.endpoint_of(acme, mine.pk) == mine
    assert [each.subject for each in selectors.deliveries_of(mine)] == ["key-2", "key-1"]
    assert selectors.delivery_of(acme, mine.pk, delivery.event_id) == delivery
    for refused in (lambda: selectors.endpoint_of(acme, other.pk), lambda: selectors.delivery_of(outsiders, mine.pk, delivery.event_id)):
        with pytest.raises(Http404):
            refused()


def test_secrets_and_answers_move_to_the_newest_encryption_key(acme: Tenant, settings: Any) -> None:
    endpoint, secret = endpoints.register(tenant=acme, url="https://example.com/", types=ALL, actor=SYSTEM)
    newer = endpoints.rotate_secret(endpoint=endpoint, actor=SYSTEM)
    IdempotentAnswer.objects.create(caller="tenant:1", key="k", fingerprint="f", body=secret_values.encrypt("body"))
    IdempotentAnswer.objects.create(caller="tenant:1", key="empty", fingerprint="f")
    fresh = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [fresh, *settings.ENCRYPTION_KEYS]

    assert reencrypt_all() == 3

    settings.ENCRYPTION_KEYS = [fresh]
    endpoint.refresh_from_db()
    assert secret_values.decrypt(endpoint.secret_encrypted) == newer
    assert secret_values.decrypt(endpoint.old_secret_encrypted) == secret
    assert secret_values.decrypt(IdempotentAnswer.objects.get(key="k").body) == "body"
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(secret_values.UnreadableValue):
        reencrypt_all()
