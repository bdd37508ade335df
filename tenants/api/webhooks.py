"""``/webhooks`` and their deliveries."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api import etags
from tenants.api.fields import Nothing
from tenants.api.filters import ChoiceFilter, StateFilter
from tenants.api.idempotency import idempotent
from tenants.api.pagination import KeysetPagination
from tenants.api.views import ApiView, ListView
from tenants.api.webhook_shapes import (
    STATES,
    DeliveryShape,
    WebhookChange,
    WebhookInput,
    WebhookShape,
    WebhookWithSecretShape,
    delivery_shown,
    webhook_shown,
)
from tenants.models import EventType, Scope, WebhookDelivery, WebhookEndpoint
from tenants.webhooks import endpoints, selectors
from tenants.webhooks.endpoints import UnableToChangeWebhook, UnfitField

REFUSALS: Mapping[type[Exception], str] = {UnfitField: "invalid-fields", UnableToChangeWebhook: "refused"}


class NewestIdFirst(KeysetPagination):
    """By the id alone, which grows and never changes: a replay moves ``created_at``."""

    def _ordered(self, queryset: QuerySet[Any], *, backwards: bool, place: tuple[datetime, Any] | None) -> QuerySet[Any]:
        if place is not None:
            queryset = queryset.filter(pk__gt=place[1]) if backwards else queryset.filter(pk__lt=place[1])
        return queryset.order_by("pk" if backwards else "-pk")


def _standing(rows: QuerySet[WebhookDelivery], state: str) -> QuerySet[WebhookDelivery]:
    return {
        "waiting": rows.filter(delivered_at=None, parked_at=None),
        "delivered": rows.exclude(delivered_at=None),
        "given_up": rows.exclude(parked_at=None),
    }[state]


class DeliveryFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter is untyped
    """How they stand, and what they tell."""

    status = StateFilter(_standing, choices=[(word, state.label) for state, word in STATES.items()], label=_("How they stand"))
    type = ChoiceFilter(field_name="event__type", choices=EventType.choices, label=_("What they tell"))

    class Meta:
        model = WebhookDelivery
        fields: list[str] = []


class _WebhookView(ApiView):
    """About one webhook of the organisation."""

    serializer_class: Any = Nothing
    refusals = REFUSALS

    def found(self, pk: uuid.UUID) -> WebhookEndpoint:
        """Raises Http404."""
        return selectors.endpoint_of(self.tenant, pk)


@extend_schema(tags=["Webhooks"])
class WebhookList(ListView):
    scopes = {"GET": Scope.TENANT_READ, "POST": Scope.TENANT_WRITE}
    serializer_class = WebhookInput
    secret_methods = frozenset({"POST"})
    refusals = REFUSALS

    def get_queryset(self) -> QuerySet[WebhookEndpoint]:
        return selectors.endpoints_of(self.tenant)

    @extend_schema(operation_id="list_webhooks", summary="List webhooks", responses=WebhookShape(many=True))
    def get(self, request: Request) -> Response:
        """Newest first, disabled ones too."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response([webhook_shown(endpoint) for endpoint in page or []])

    @extend_schema(
        operation_id="register_webhook", summary="Register a webhook", request=WebhookInput, responses={201: WebhookWithSecretShape}
    )
    @idempotent
    @sensitive_variables("secret")
    def post(self, request: Request) -> Response:
        """The answer holds the secret with which you verify what is sent. An organisation can have ten webhooks."""
        endpoint, secret = endpoints.register(tenant=self.tenant, actor=self.caller.actor(), **self.valid())
        shown = webhook_shown(endpoint)
        headers = {"Location": reverse("api:webhook", args=[endpoint.pk]), "ETag": etags.etag_of(shown)}
        return Response({**shown, "secret": secret}, status=201, headers=headers)


@extend_schema(tags=["Webhooks"])
class WebhookDetail(_WebhookView):
    scopes = {"GET": Scope.TENANT_READ, "PATCH": Scope.TENANT_WRITE, "DELETE": Scope.TENANT_WRITE}
    serializer_class = WebhookChange

    @extend_schema(operation_id="get_webhook", summary="Look at a webhook", responses=WebhookShape)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Without its secret."""
        return self.shown(webhook_shown(self.found(pk)))

    @extend_schema(operation_id="change_webhook", summary="Change a webhook", request=WebhookChange, responses=WebhookShape)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """What is left out stays as it is. Enabling it sends what was waiting."""
        data = self.valid()
        status, actor = data.pop("status", None), self.caller.actor()
        with self.if_match(selectors.endpoints_of(self.tenant).filter(pk=pk), webhook_shown) as found:
            changed = endpoints.change(endpoint=found, actor=actor, **data) if data else found
            if status is not None:
                changed = (endpoints.enable if status == "enabled" else endpoints.disable)(endpoint=changed, actor=actor)
        return self.shown(webhook_shown(changed))

    @extend_schema(operation_id="delete_webhook", summary="Delete a webhook", responses={204: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """Nothing more is sent there, what waits included."""
        with self.if_match(selectors.endpoints_of(self.tenant).filter(pk=pk), webhook_shown) as found:
            endpoints.delete(endpoint=found, actor=self.caller.actor())
        return Response(status=204)


@extend_schema(tags=["Webhooks"])
class WebhookRotateSecret(_WebhookView):
    scopes = {"POST": Scope.TENANT_WRITE}
    secret_methods = frozenset({"POST"})

    @extend_schema(
        operation_id="rotate_webhook_secret", summary="Rotate a webhook's secret", request=Nothing, responses=WebhookWithSecretShape
    )
    @idempotent
    @sensitive_variables("secret")
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """A new secret, in this answer. Until `old_secret_ends_at` the old one signs as well; before that it cannot be rotated again."""
        self.valid()
        secret = endpoints.rotate_secret(endpoint=self.found(pk), actor=self.caller.actor())
        return Response({**webhook_shown(self.found(pk)), "secret": secret})


@extend_schema(tags=["Webhooks"])
class WebhookTest(_WebhookView):
    scopes = {"POST": Scope.TENANT_WRITE}
    post_limit = "sends"

    @extend_schema(operation_id="test_webhook", summary="Send a test", request=Nothing, responses={201: DeliveryShape})
    @idempotent
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """A `webhook.test` is put in line, whatever types the webhook asks for. Look at the delivery to see what became of it."""
        self.valid()
        delivery = endpoints.send_test(endpoint=self.found(pk), actor=self.caller.actor())
        return Response(delivery_shown(delivery), status=201, headers={"Location": _location(pk, delivery)})


@extend_schema(tags=["Webhooks"])
class DeliveryList(_WebhookView):
    scopes = {"GET": Scope.TENANT_READ}
    serializer_class = DeliveryShape
    pagination_class = NewestIdFirst
    filterset_class = DeliveryFilter

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        return selectors.deliveries_of(self.found(self.kwargs["pk"]))

    @extend_schema(operation_id="list_webhook_deliveries", summary="List deliveries", responses=DeliveryShape(many=True))
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """What was, is being and will be sent, newest first. They are kept for 30 days."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([delivery_shown(delivery) for delivery in page or []])


@extend_schema(tags=["Webhooks"])
class DeliveryDetail(_WebhookView):
    scopes = {"GET": Scope.TENANT_READ}
    serializer_class = DeliveryShape

    @extend_schema(operation_id="get_webhook_delivery", summary="Look at a delivery", responses=DeliveryShape)
    def get(self, request: Request, pk: uuid.UUID, delivery_id: uuid.UUID) -> Response:
        """With the body that is sent."""
        return self.shown(delivery_shown(selectors.delivery_of(self.tenant, pk, delivery_id)))


@extend_schema(tags=["Webhooks"])
class DeliveryReplay(_WebhookView):
    scopes = {"POST": Scope.TENANT_WRITE}
    post_limit = "sends"

    @extend_schema(operation_id="replay_webhook_delivery", summary="Send a delivery again", request=Nothing, responses=DeliveryShape)
    @idempotent
    def post(self, request: Request, pk: uuid.UUID, delivery_id: uuid.UUID) -> Response:
        """It is put in line again, delivered or given up; one that waits is tried now. Its id stays, so a receiver knows it."""
        self.valid()
        found = selectors.delivery_of(self.tenant, pk, delivery_id)
        replayed = endpoints.replay(delivery=found, actor=self.caller.actor())
        return Response(delivery_shown(replayed))


def _location(pk: uuid.UUID, delivery: WebhookDelivery) -> str:
    return reverse("api:webhook_delivery", args=[pk, delivery.event_id])
