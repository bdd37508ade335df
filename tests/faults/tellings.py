"""What the oracle knows of tellings: what webhooks were told, and what staff were told of the workers' rights."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Sum
from django.utils import timezone

from keys.models import ApiKey, Gateway, Status, UsageDay
from keys.words import period_bounds
from tenants.models import AuditEvent, WebhookEndpoint, WebhookEvent
from tenants.webhooks import endpoints
from tests.faults.violation import Violation


def webhooks() -> Iterator[Violation]:
    """Who listens to everything is told of each thing as often as it happened, and of each key that is ready."""
    hears = WebhookEndpoint.objects.filter(tenant=OuterRef("tenant"), created_at__lte=OuterRef("created_at"), types=endpoints.TYPES)
    told = _counted(WebhookEvent.objects.values_list("subject", "type"))
    done = _counted(AuditEvent.objects.filter(target_type="apikey").values_list("target_id", "action"))
    now = timezone.now()
    for api_key in ApiKey.objects.filter(Exists(hears)).select_related("tier", "gateway_key", "tenant"):
        events, trail = told[str(api_key.pk)], done[str(api_key.pk)]
        renewed = trail["api_key.rotated"] + trail["api_key.moved"]
        wanted = {"key.rotated": renewed, "key.disabled": trail["api_key.disabled"], "key.revoked": trail["api_key.revoked"]}
        for type_, times in wanted.items():
            if events[type_] != times:
                yield Violation("other", f"{api_key.name}: {times} of {type_} happened, {events[type_]} were told")
        if events["key.ready"] > 1 + renewed + trail["api_key.enabled"]:
            yield Violation("double", f"{api_key.name} was told to be ready {events['key.ready']} times")
        if api_key.status(now) is Status.READY and (api_key.awaits_ready or not events["key.ready"]):
            yield Violation("lost", f"{api_key.name} is ready, and that was not told")
        yield from _quota(api_key, events, now)
    for event in WebhookEvent.objects.filter(Exists(hears), deliveries=None):
        yield Violation("lost", f"{event} is told to nobody")


def _counted(pairs: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """How often each second stands beside each first."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for first, second in pairs:
        found[first][second] += 1
    return found


def _quota(api_key: ApiKey, events: Counter[str], now: datetime) -> Iterator[Violation]:
    """Four fifths of a quota are told of once, when they were seen to be used up."""
    if api_key.tier.quota_limit is None:
        return
    starts_at, _ends_at = period_bounds(api_key.tier.quota_period, now)
    days = UsageDay.objects.filter(gateway_key=api_key.gateway_key, date__gte=starts_at.date())
    used = days.aggregate(used=Sum("used"))["used"] or 0
    if events["quota.80"] != int(used * 5 >= api_key.tier.quota_limit * 4):
        yield Violation("other", f"{api_key.name} was seen to use {used} of its quota, and {events['quota.80']} times 80 % were told")


def rights(roles: dict[str, Any]) -> Iterator[Violation]:
    """What was looked up of the workers' rights is what the sandbox denies them."""
    for gateway in Gateway.objects.exclude(check_requested_at=None):
        denied = sorted(roles.get(gateway.role_arn, {"deny": []})["deny"])
        if (seen := sorted(each["operation"] for each in gateway.permissions_missing)) != denied:
            yield Violation("other", f"{gateway}: denied are {denied}, and {seen} are said to lack")
