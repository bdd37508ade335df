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
from tenants.webhooks.emit import emit, tenants_that_want, wants


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


def rotated(api_key: ApiKey, old_ends_at: datetime, now: datetime) -> None:
    """The API key stands on another gateway key. If that one has to be made first, ``key.ready`` follows once it works."""
    _emit(api_key, EventType.KEY_ROTATED, old_credential_ends_at=moment(old_ends_at))
    if not api_key.gateway_key.is_in_service(now) and awaits_ready(api_key.tenant):
        ApiKey.objects.filter(pk=api_key.pk).update(awaits_ready=True)


def _emit(api_key: ApiKey, type_: EventType, **more: Any) -> None:
    def data() -> dict[str, Any]:
        now = timezone.now()
        renewing = api_key.pk in selectors.renewing_among([api_key], now)
        return {**key_data(api_key, selectors.endpoint_of(api_key), now, renewing=renewing), **more}

    emit(api_key.tenant_id, type_, str(api_key.pk), data)
