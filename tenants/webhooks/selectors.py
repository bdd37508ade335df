"""Reads of endpoints and deliveries, for pages and the REST API."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Q, QuerySet
from django.shortcuts import get_object_or_404

from tenants.models import Tenant, WebhookDelivery, WebhookEndpoint


def endpoints_of(tenant: Tenant) -> QuerySet[WebhookEndpoint]:
    """The tenant's endpoints, newest first; disabled ones too, deleted ones not."""
    return WebhookEndpoint.objects.filter(tenant=tenant, deleted_at=None).order_by("-created_at", "-pk")


def endpoint_of(tenant: Tenant, pk: uuid.UUID) -> WebhookEndpoint:
    """One endpoint of the tenant. Raises Http404 for another tenant's and a deleted one exactly as for a missing one."""
    return get_object_or_404(endpoints_of(tenant).select_related("tenant"), pk=pk)


def deliveries_of(endpoint: WebhookEndpoint) -> QuerySet[WebhookDelivery]:
    """What was, is being and will be sent to an endpoint, newest first, each with its event. Page by id: there may be very many."""
    return WebhookDelivery.objects.filter(endpoint=endpoint).select_related("event").order_by("-pk")


def delivery_of(tenant: Tenant, endpoint_pk: uuid.UUID, event_pk: uuid.UUID) -> WebhookDelivery:
    """The delivery of one event (the ``webhook-id``) to an endpoint of the tenant, with endpoint, tenant and event.

    Raises Http404 as ``endpoint_of``.
    """
    rows = WebhookDelivery.objects.filter(endpoint__tenant=tenant, endpoint__deleted_at=None, endpoint=endpoint_pk)
    return get_object_or_404(rows.select_related("event", "endpoint__tenant"), event=event_pk)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Deliveries of an endpoint that wait (the longest since ``waiting_since``), and that were given up and not replayed."""

    waiting: int = 0
    parked: int = 0
    waiting_since: datetime | None = None


def counts_of(endpoints: Iterable[WebhookEndpoint]) -> dict[uuid.UUID, Counts]:
    """Counts by endpoint id, in one query; every endpoint is there."""
    endpoints = list(endpoints)
    is_waiting = Q(delivered_at=None, parked_at=None)
    rows = (
        WebhookDelivery.objects.filter(endpoint__in=[each.pk for each in endpoints], delivered_at=None)
        .order_by()
        .values_list("endpoint")
        .annotate(
            waiting=Count("pk", filter=is_waiting),
            parked=Count("pk", filter=~Q(parked_at=None)),
            since=Min("created_at", filter=is_waiting),
        )
    )
    found = {pk: Counts(waiting=waiting, parked=parked, waiting_since=since) for pk, waiting, parked, since in rows}
    return {each.pk: found.get(each.pk, Counts()) for each in endpoints}
