"""What webhooks and deliveries look like over the REST API: a serializer describes, a function shows."""

from typing import Any

from rest_framework import serializers

from tenants.api.examples import shows, takes
from tenants.api.fields import Input, Several, Text
from tenants.models import DeliveryState, EventType, WebhookDelivery, WebhookEndpoint
from tenants.webhooks.endpoints import LONGEST_DESCRIPTION, TYPES
from tenants.webhooks.payload import told

LONGEST_URL = 500
TYPE_VALUES = [each.value for each in TYPES]
# What a script is told of a delivery; "parked" is our own word.
STATES = {DeliveryState.WAITING: "waiting", DeliveryState.DELIVERED: "delivered", DeliveryState.PARKED: "given_up"}

_WEBHOOK = {
    "id": "2f0c9a4e-52a1-4b6e-8d0a-7f3b1f0c9a4e",
    "url": "https://example.com/webhooks",
    "description": "Deployment bot",
    "types": ["key.ready", "key.revoked"],
    "status": "enabled",
    "created_at": "2026-11-21T08:00:00.123456Z",
    "disabled_at": None,
    "old_secret_ends_at": None,
}
_SECRET = "whsec_EXAMPLEexampleEXAMPLEexampleEXAMPLEexampleE="  # noqa: S105 - an example
_EVENT = {"endpoint_id": _WEBHOOK["id"], "message": "This is a test."}
_DELIVERY = {
    "id": "6d7f3c0e-3a4e-4c55-9d0a-0c3f6c9a2b11",
    "type": "webhook.test",
    "status": "delivered",
    "created_at": "2026-11-21T08:00:00.123456Z",
    "attempts": 1,
    "last_tried_at": "2026-11-21T08:00:01.201Z",
    "last_status": 204,
    "last_error": "",
    "last_milliseconds": 84,
    "next_try_at": None,
    "delivered_at": "2026-11-21T08:00:01.201Z",
    "given_up_at": None,
    "payload": {"type": "webhook.test", "timestamp": "2026-11-21T08:00:00.123Z", "data": _EVENT},
}


@shows(**_WEBHOOK)
class WebhookShape(serializers.Serializer[Any]):
    """A URL that is told what happens to your keys, without its secret. How it does, its deliveries say."""

    id = serializers.UUIDField()
    url = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    types = serializers.ListField(child=serializers.ChoiceField(choices=TYPE_VALUES), help_text="What it is told of.")
    status = serializers.ChoiceField(choices=["enabled", "disabled"], help_text="`disabled`: by you, or because it answered 410.")
    created_at = serializers.DateTimeField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    old_secret_ends_at = serializers.DateTimeField(
        allow_null=True, help_text="After a rotation: until when what is sent is signed with the old secret as well."
    )


@shows(**_WEBHOOK, secret=_SECRET)
class WebhookWithSecretShape(WebhookShape):
    """A webhook with the secret that signs what it is sent."""

    secret = serializers.CharField(help_text="For any library of Standard Webhooks. Later an admin can read it in the page.")


@takes(url=_WEBHOOK["url"], types=_WEBHOOK["types"], description=_WEBHOOK["description"])
class WebhookInput(Input):
    """A webhook to register."""

    url = Text(max_length=LONGEST_URL, help_text="With https://, at a public address. Redirects are not followed.")
    types = Several(
        child=serializers.ChoiceField(choices=TYPE_VALUES), min_length=1, max_length=len(TYPE_VALUES), help_text="What it is told of."
    )
    description = Text(max_length=LONGEST_DESCRIPTION, required=False, default="", allow_blank=True)


@takes(types=["key.ready"], status="disabled")
class WebhookChange(Input):
    """What can be changed of a webhook. What is left out stays as it is."""

    url = Text(max_length=LONGEST_URL, required=False, help_text="What waits is sent to the new URL.")
    types = Several(child=serializers.ChoiceField(choices=TYPE_VALUES), min_length=1, max_length=len(TYPE_VALUES), required=False)
    description = Text(max_length=LONGEST_DESCRIPTION, required=False, allow_blank=True)
    status = serializers.ChoiceField(
        choices=["enabled", "disabled"],
        required=False,
        help_text="While it is `disabled` nothing is sent, nor told later.",
    )


@shows(**_DELIVERY)
class DeliveryShape(serializers.Serializer[Any]):
    """The telling of one event to one webhook."""

    id = serializers.UUIDField(help_text="The event's id, which is sent as `webhook-id` at every try and replay.")
    type = serializers.ChoiceField(choices=EventType.values)
    status = serializers.ChoiceField(choices=list(STATES.values()), help_text="`given_up`: tried for 72 hours, or its webhook refused it.")
    created_at = serializers.DateTimeField(help_text="When it happened.")
    attempts = serializers.IntegerField(help_text="How often it was tried, since the last replay.")
    last_tried_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(allow_null=True, help_text="What the receiver answered last; null where it did not answer.")
    last_error = serializers.CharField(allow_blank=True, help_text="What went wrong at the last try, in words.")
    last_milliseconds = serializers.IntegerField(allow_null=True, help_text="How long the last try took.")
    next_try_at = serializers.DateTimeField(allow_null=True, help_text="Null unless it waits.")
    delivered_at = serializers.DateTimeField(allow_null=True)
    given_up_at = serializers.DateTimeField(allow_null=True)
    payload = serializers.DictField(child=serializers.JSONField(), help_text="The body that is sent.")


def webhook_shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """``WebhookShape``. What deliveries write on the row is left out: a version that changes with each of them could never be matched."""
    return {
        "id": endpoint.pk,
        "url": endpoint.url,
        "description": endpoint.description,
        "types": endpoint.types,
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
        "created_at": endpoint.created_at,
        "disabled_at": endpoint.disabled_at,
        "old_secret_ends_at": endpoint.old_secret_ends_at,
    }


def delivery_shown(delivery: WebhookDelivery) -> dict[str, Any]:
    """``DeliveryShape``. Select ``event`` with the row."""
    state = delivery.state
    return {
        "id": delivery.event_id,
        "type": delivery.event.type,
        "status": STATES[state],
        "created_at": delivery.event.created_at,
        "attempts": delivery.attempts,
        "last_tried_at": delivery.last_tried_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "last_milliseconds": delivery.last_milliseconds,
        "next_try_at": delivery.next_try_at if state is DeliveryState.WAITING else None,
        "delivered_at": delivery.delivered_at,
        "given_up_at": delivery.parked_at,
        "payload": told(delivery.event),
    }
