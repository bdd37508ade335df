"""An API key as its tenant sees it, in JSON: what webhooks tell and the REST API answers. Never a credential, never isolation."""

from datetime import UTC, datetime
from typing import Any

from keys.models import ApiKey, Stage, Status


def key_data(api_key: ApiKey, stage: Stage | None, now: datetime, *, renewing: bool) -> dict[str, Any]:
    """``stage``: where calls go, as selectors.endpoint_of says; ``renewing``: as selectors.renewing_among says. Select ``tier``,
    ``gateway_key`` and ``tenant`` with the row."""
    status = api_key.status(now, renewing=renewing)
    return {
        "id": str(api_key.pk),
        "name": api_key.name,
        "description": api_key.description,
        "tier": api_key.tier.slug,
        "status": str(status),
        "last_four": api_key.gateway_key.last_four,
        "credential_ready": status is Status.READY and api_key.gateway_key.is_in_service(now),
        "endpoint": stage.invoke_url if stage is not None else None,
        "created_at": moment(api_key.created_at),
        "disabled_at": moment(api_key.disabled_at),
        "revoked_at": moment(api_key.revoked_at),
    }


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond: ``2026-11-21T08:00:00.000Z``."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
