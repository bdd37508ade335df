"""``{% load staff %}``: the head of the staff's first page, and names for the cells of a list."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django import template
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from keys.admin.alarms import alarms
from keys.models import Gateway
from tenants.models import AuditEvent

register = template.Library()

EVENTS_SHOWN = 10


@register.inclusion_tag("admin/keys/_alarms.html", takes_context=True)
def staff_alarms(context: template.Context) -> dict[str, Any]:
    """What is wrong with the gateways; nothing for staff who may not see them."""
    if not _may(context, "keys.view_gateway"):
        return {"visible": False}
    return {"visible": True, "alarms": alarms(timezone.now()), "gateways": Gateway.objects.count()}


@register.inclusion_tag("admin/keys/_recent.html", takes_context=True)
def staff_recent(context: template.Context) -> dict[str, Any]:
    """The newest events of the audit trail; nothing for staff who may not see it."""
    if not _may(context, "tenants.view_auditevent"):
        return {"visible": False}
    return {"visible": True, "events": AuditEvent.objects.order_by("-created_at")[:EVENTS_SHOWN]}


@register.filter
def labelled(cells: Iterable[str], headers: Iterable[Mapping[str, Any]]) -> Iterator[SafeString]:
    """The cells of one row of a list, as the admin made them, each with its column's name for the phone, where rows are cards."""
    for cell, header in zip(cells, headers, strict=True):
        if "action-checkbox" in cell[:40]:  # its header is a checkbox, not a name
            yield SafeString(cell)
        else:
            yield format_html('{} data-label="{}"{}', SafeString(cell[:3]), capfirst(header["text"]), SafeString(cell[3:]))


def _may(context: template.Context, permission: str) -> bool:
    request = context.get("request")
    return isinstance(request, HttpRequest) and request.user.has_perm(permission)
