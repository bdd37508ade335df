"""What is told of an event. Apart from the sending, so that a page can show it without an HTTP client."""

from datetime import UTC, datetime
from typing import Any

from tenants.models import WebhookEvent


def told(event: WebhookEvent) -> dict[str, Any]:
    """The body of what is sent, before it is written as JSON."""
    return {"type": event.type, "timestamp": _rfc3339(event.created_at), "data": event.data}


def _rfc3339(moment: datetime) -> str:
    # To the microsecond, always: receivers keep the newest of a subject by it, and two changes can fall into one millisecond.
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
