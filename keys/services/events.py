"""Which webhook events tell of what happened to an API key. Called by the services, inside their transactions.

A tenant without webhooks pays one query a change, and nothing for a purchase: there the question goes with the query that locks the
tenant's row (``wants_ready``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils import timezone

from keys import selectors
from keys.models import ApiKey
from keys.public import key_data, moment
from keys.sync.ready import tell_ready
from tenants.models import EventType, Tenant
from tenants.webhooks.emit import Happening, emit, emit_each, tenants_that_want, wants


def wants_ready() -> Exists:
    """For an annotation of a query of tenants: whether the tenant wants to be told of ready keys."""
    return wants(EventType.KEY_READY, tenant=OuterRef("pk"))


def awaits_ready(tenant: Tenant) -> bool:
    """The value of ``ApiKey.awaits_ready`` for a key of this tenant that is not ready yet."""
    return tenants_that_want(EventType.KEY_READY).filter(tenant=tenant).exists()


def bought(api_keys: Sequence[ApiKey]) -> None:
    """Purchases were written; those with ``awaits_ready`` that are ready at once are told of here, the others by the workers."""
    awaiting = {each.pk: each for each in api_keys if each.awaits_ready}
    if awaiting:
        tell_ready(list(awaiting))


def disabled(api_key: ApiKey) -> None:
    _emit(api_key, EventType.KEY_DISABLED)


def revoked(api_key: ApiKey) -> None:
    _emit(api_key, EventType.KEY_REVOKED)


def rotated(api_key: ApiKey, old_ends_at: datetime) -> None:
    """The API key stands on another gateway key. If that one has to be made first, ``key.ready`` follows once it works."""
    _emit(api_key, EventType.KEY_ROTATED, old_credential_ends_at=moment(old_ends_at))
    if not api_key.gateway_key.is_in_service(timezone.now()) and awaits_ready(api_key.tenant):
        ApiKey.objects.filter(pk=api_key.pk).update(awaits_ready=True)


def moved(api_keys: Sequence[ApiKey], old_ends_at: datetime) -> None:
    """Staff gave these API keys new credentials: to their tenants that is a rotation. The number of queries does not grow with them."""
    ids = [each.pk for each in api_keys]
    wanting = tenants_that_want(EventType.KEY_ROTATED, EventType.KEY_READY)
    rows = (
        ApiKey.objects.filter(pk__in=ids, tenant__in=wanting).select_related("tier", "gateway_key", "tenant").order_by("created_at", "pk")
    )
    listened_to = list(rows)
    if not listened_to:
        return
    now = timezone.now()
    stages = selectors.endpoints_of(listened_to)
    ends_at = moment(old_ends_at)
    emit_each(
        [
            Happening(
                tenant_id=each.tenant_id,
                type=EventType.KEY_ROTATED,
                subject=str(each.pk),
                data={**key_data(each, stages.get(each.pk), now), "old_credential_ends_at": ends_at},
            )
            for each in listened_to
        ]
    )
    preparing = [each.pk for each in listened_to if not each.gateway_key.is_in_service(now)]
    ApiKey.objects.filter(pk__in=preparing, tenant__in=tenants_that_want(EventType.KEY_READY)).update(awaits_ready=True)


def _emit(api_key: ApiKey, type_: EventType, **more: Any) -> None:
    def data() -> dict[str, Any]:
        return {**key_data(api_key, selectors.endpoint_of(api_key), timezone.now()), **more}

    emit(api_key.tenant_id, type_, str(api_key.pk), data)
