"""Webhooks from a click to a receiver: the portal, a real worker that keeps gateways in step and delivers, real HTTP."""

from __future__ import annotations

import time

import pytest
from standardwebhooks import Webhook

from keys import values
from keys.models import GatewayKey
from tenants.audit import SYSTEM
from tenants.models import Tenant, WebhookDelivery
from tenants.webhooks import endpoints
from tests.flows.conftest import FLOW_SECONDS, World, no_spares
from tests.support.receiver import Receiver, receiver
from tests.support.services import wait_until

__all__ = ["receiver"]

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.django_db(transaction=True)]

ALL = [str(each) for each in endpoints.TYPES]


def types(receiver: Receiver, secret: str) -> list[str]:
    return [Webhook(secret).verify(request.body, request.headers)["type"] for request in receiver.received]


def wait_for(receiver: Receiver, count: int) -> None:
    wait_until(lambda: len(receiver.received) >= count, seconds=FLOW_SECONDS, what=f"{count} webhooks")


def test_life_of_a_key_is_told(world: World, acme: Tenant, receiver: Receiver) -> None:
    _endpoint, secret = endpoints.register(tenant=acme, url=receiver.url(), types=ALL, actor=SYSTEM)
    no_spares("premium")

    api_key = world.buy("premium")
    wait_for(receiver, 1)
    first = world.value(api_key)
    assert world.call(first) == 200  # what is told to be ready works
    world.post(api_key, "rotate", grace=3600)
    wait_for(receiver, 3)
    second = world.value(api_key)
    assert world.call(second) == 200
    world.post(api_key, "disable")
    wait_for(receiver, 4)
    world.settle()
    world.post(api_key, "enable")
    wait_for(receiver, 5)
    world.post(api_key, "revoke")
    wait_for(receiver, 6)
    world.settle()

    assert types(receiver, secret) == ["key.ready", "key.rotated", "key.ready", "key.disabled", "key.ready", "key.revoked"]
    assert {request.id for request in receiver.received} == {str(delivery.event_id) for delivery in WebhookDelivery.objects.all()}
    wait_until(lambda: not WebhookDelivery.objects.filter(delivered_at=None).exists(), what="all written down as delivered")
    everything = b"".join(repr(request).encode() for request in receiver.received)
    known = {first, second, *(values.decrypt(key.value_encrypted) for key in GatewayKey.objects.all())}
    assert not any(value.encode() in everything for value in known)
    assert secret.encode() not in everything


def test_key_that_works_at_once_is_told_of_at_once(world: World, acme: Tenant, receiver: Receiver) -> None:
    _endpoint, secret = endpoints.register(tenant=acme, url=receiver.url(), types=ALL, actor=SYSTEM)

    world.buy("basic")
    wait_for(receiver, 1)  # by the bell: there is no beat here

    assert types(receiver, secret) == ["key.ready"]


def test_hanging_receiver_does_not_hold_up_gateways(world: World, acme: Tenant, receiver: Receiver) -> None:
    """The worker has two threads; ten deliveries that hang take one of them."""
    endpoints.register(tenant=acme, url=receiver.url(), types=ALL, actor=SYSTEM)
    hanging = True

    def hang(_request: object, _socket: object) -> int:
        until = time.monotonic() + 60
        while hanging and time.monotonic() < until:
            time.sleep(0.02)
        return 200

    receiver.answer = hang
    keys = [world.buy("test") for _ in range(1)] + [world.buy("basic") for _ in range(3)]
    wait_for(receiver, 2)
    no_spares("premium")

    made = world.buy("premium")
    world.answers(world.value(made), 200)
    assert not WebhookDelivery.objects.filter(delivered_at__isnull=False).exists()
    hanging = False

    wait_until(
        lambda: WebhookDelivery.objects.filter(delivered_at__isnull=False).count() == len(keys) + 1, seconds=FLOW_SECONDS, what="all told"
    )
