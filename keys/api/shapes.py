"""What tiers, keys and usage look like to a tenant: a serializer describes, a function shows. Nothing here tells of isolation."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rest_framework import serializers

from keys.api.rows import Row
from keys.models import QuotaPeriod, Status, Tier
from keys.queues import seconds_until_ready
from keys.selectors import PeriodUsage, served_before
from keys.services.api_keys import LONGEST_GRACE
from keys.services.purchases import LONGEST_DESCRIPTION, LONGEST_NAME, MOST_ITEMS
from tenants.api.examples import shows, takes
from tenants.api.fields import Input, Several, Text, Whole

_ID = "5d0f6a3e-3c0a-4a7e-9c55-0a2f3f1f7f10"
_TIER = {
    "slug": "premium",
    "name": "Premium",
    "description": "For programs in production.",
    "position": 2,
    "price_minor": 1999,
    "currency": "USD",
    "throttle_rate": 10,
    "throttle_burst": 20,
    "quota_limit": 100_000,
    "quota_period": "MONTH",
    "max_api_keys": 10,
    "created_at": "2026-01-15T09:30:00Z",
    "retired_at": None,
}
_KEY = {
    "id": _ID,
    "name": "Shop",
    "description": "Checkout of the web shop",
    "tier": "premium",
    "status": "ready",
    "last_four": "x7Qp",
    "credential_ready": True,
    "endpoint": "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/v1",
    "ready_in_seconds": None,
    "created_at": "2026-11-21T08:00:00.123456Z",
    "disabled_at": None,
    "revoked_at": None,
}
_CREDENTIAL = "tgk0EXAMPLEexampleEXAMPLEexampleEXAMPLEx7Qp"
_PERIOD = {
    "used": 1240,
    "limit": 100_000,
    "remaining": 98_760,
    "starts_at": "2026-11-01T00:00:00Z",
    "resets_at": "2026-12-01T00:00:00Z",
    "read_at": "2026-11-21T07:45:00Z",
    "age_seconds": 900,
}
_REFUSAL = "You have 10 keys of the Premium tier, which is as many as it allows."
_PROBLEM = {
    "type": "https://portal.example.com/docs/errors/refused/",
    "title": "This cannot be done now",
    "status": 409,
    "detail": _REFUSAL,
    "request_id": "0b3d7c5e-6f1a-4f0e-9a55-0c6a3b7d1f42",
}


# --- Tiers ----------------------------------------------------------------------------------------------------------------------


@shows(**_TIER)
class TierShape(serializers.Serializer[Any]):
    """What can be bought: limits and price."""

    slug = serializers.CharField(help_text="How keys and purchases name it.")
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    position = serializers.IntegerField(help_text="Its place on the price page.")
    price_minor = serializers.IntegerField(help_text="A month, in the currency's minor unit: 1999 is 19.99.")
    currency = serializers.CharField(help_text="ISO 4217, as USD.")
    throttle_rate = serializers.FloatField(help_text="Requests a second that refill the bucket of one key.")
    throttle_burst = serializers.IntegerField(help_text="The bucket's size, in requests.")
    quota_limit = serializers.IntegerField(allow_null=True, help_text="Requests a period; null for no quota.")
    quota_period = serializers.ChoiceField(choices=QuotaPeriod.values, allow_null=True, help_text="Periods begin at 00:00 UTC.")
    max_api_keys = serializers.IntegerField(help_text="How many keys of this tier you may have at once; revoked ones do not count.")
    created_at = serializers.DateTimeField()
    retired_at = serializers.DateTimeField(allow_null=True, help_text="Since when it is no longer sold. Keys of it go on working.")


def tier_shown(tier: Tier) -> dict[str, Any]:
    """``TierShape``."""
    return {
        "slug": tier.slug,
        "name": tier.name,
        "description": tier.description,
        "position": tier.position,
        "price_minor": tier.price_minor,
        "currency": tier.currency,
        "throttle_rate": tier.throttle_rate,
        "throttle_burst": tier.throttle_burst,
        "quota_limit": tier.quota_limit,
        "quota_period": tier.quota_period or None,
        "max_api_keys": tier.max_api_keys,
        "created_at": tier.created_at,
        "retired_at": tier.retired_at,
    }


# --- Keys -----------------------------------------------------------------------------------------------------------------------


@shows(**_KEY)
class KeyShape(serializers.Serializer[Any]):
    """A key, without its credential. Its ETag stands for all but `ready_in_seconds`."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    tier = serializers.CharField(help_text="The slug of its tier.")
    status = serializers.ChoiceField(
        choices=Status.values,
        help_text="`preparing`: calls are not answered yet, but soon. `disabled`: by you, or because your organisation is suspended.",
    )
    last_four = serializers.CharField(help_text="The end of its credential.")
    credential_ready = serializers.BooleanField(
        help_text="Whether calls with that credential are answered. False beside `ready`: it is being made, and the one before it works."
    )
    endpoint = serializers.URLField(allow_null=True, help_text="Where calls go, without the last slash.")
    ready_in_seconds = serializers.IntegerField(
        allow_null=True,
        help_text="While its credential is being made: about how long that takes yet, by what waits before it. Null where nobody can tell.",
    )
    created_at = serializers.DateTimeField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


@shows(**_KEY, credential=_CREDENTIAL)
class KeyWithCredentialShape(KeyShape):
    """A key with its credential: the secret that goes into `x-api-key` of each call."""

    credential = serializers.CharField()


@shows(**_KEY, credential=_CREDENTIAL, old_credential_ends_at="2026-11-22T08:00:00.123456Z")
class RotatedKeyShape(KeyWithCredentialShape):
    """A key with its new credential."""

    old_credential_ends_at = serializers.DateTimeField(help_text="Until then calls with the old credential are answered as well.")


@shows(**{**_KEY, "status": "revoked", "credential_ready": False, "revoked_at": "2026-11-21T09:00:00.123456Z"}, notice=None)
class RevokedKeyShape(KeyShape):
    """A key that was revoked."""

    notice = serializers.CharField(allow_null=True, help_text="What to do if its credential leaked; null where nothing is left to do.")


@takes(tier="premium", name="Shop", description="Checkout of the web shop")
class KeyInput(Input):
    """A key to buy."""

    tier = Text(max_length=40, help_text="The slug of a tier that is sold.")
    name = Text(max_length=LONGEST_NAME, help_text="How you will find it, for example the program that uses it.")
    description = Text(max_length=LONGEST_DESCRIPTION, required=False, allow_blank=True, default="")


@takes(name="Web shop")
class KeyChange(Input):
    """What can be changed of a key."""

    name = Text(max_length=LONGEST_NAME, required=False)
    description = Text(max_length=LONGEST_DESCRIPTION, required=False, allow_blank=True)


_LONGEST_GRACE_SECONDS = int(LONGEST_GRACE.total_seconds())


@takes(grace_seconds=86400)
class RotateInput(Input):
    """How long the old credential goes on working."""

    grace_seconds = Whole(
        min_value=0, max_value=_LONGEST_GRACE_SECONDS, required=False, default=24 * 3600, help_text="0: it ends at once. At most 7 days."
    )


@dataclass(frozen=True, slots=True)
class Waits:
    """Of keys whose credential is being made: about how many seconds that takes yet, by gateway key; and the ids of those that work
    meanwhile by the credential before it."""

    seconds: Mapping[uuid.UUID, int]
    renewing: Collection[uuid.UUID]


def key_shown(row: Row, urls: Mapping[tuple[uuid.UUID, uuid.UUID], str], waits: Waits, now: datetime) -> dict[str, Any]:
    """``KeyShape`` of a row of ``keys.api.rows``; ``urls``: as ``endpoint_urls`` says; ``waits``: as ``waits_of`` says."""
    status = _status(row, now)
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "tier": row["tier__slug"],
        "status": "ready" if row["id"] in waits.renewing else status,
        "last_four": row["gateway_key__last_four"],
        "credential_ready": status == "ready",
        "endpoint": urls.get((row["tier_id"], row["gateway_key__gateway_id"])),
        "ready_in_seconds": waits.seconds.get(row["gateway_key_id"]),
        "created_at": row["created_at"],
        "disabled_at": row["disabled_at"],
        "revoked_at": row["revoked_at"],
    }


def key_version(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What the ETag of a key stands for: who waits for it can still change it."""
    return {name: value for name, value in shown.items() if name != "ready_in_seconds"}


def waits_of(rows: Iterable[Row], now: datetime) -> Waits:
    """What is being made for these keys. No query where nothing is."""
    preparing = [row for row in rows if _status(row, now) == "preparing"]
    waiting = {row["gateway_key_id"]: (row["gateway_key__gateway_id"], row["gateway_key__in_service_at"]) for row in preparing}
    return Waits(seconds_until_ready(waiting, now), served_before([row["id"] for row in preparing], now))


def _status(row: Row, now: datetime) -> str:
    """What ``ApiKey.status`` says of the current credential."""
    if row["revoked_at"] is not None:
        return "revoked"
    if row["disabled_at"] is not None or row["tenant__suspended_at"] is not None:
        return "disabled"
    in_service_at = row["gateway_key__in_service_at"]
    return "ready" if in_service_at is not None and in_service_at <= now else "preparing"


# --- Many at once ---------------------------------------------------------------------------------------------------------------


@takes(items=[{"tier": "premium", "name": "Branch 1"}, {"tier": "premium", "name": "Branch 2"}])
class BatchInput(Input):
    """Keys to buy."""

    items = Several(child=KeyInput(), min_length=1, max_length=MOST_ITEMS, help_text=f"1 to {MOST_ITEMS}.")


class ItemErrorShape(serializers.Serializer[Any]):
    """What is wrong with one field of an item."""

    field = serializers.CharField()
    detail = serializers.CharField()


class ItemProblemShape(serializers.Serializer[Any]):
    """Why an item was refused, as a problem document of its own."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    request_id = serializers.CharField(allow_blank=True)
    errors = ItemErrorShape(many=True, required=False)  # type: ignore[assignment]  # a field here, never the property of the same name


class OutcomeShape(serializers.Serializer[Any]):
    """What became of one item: its key, or why there is none."""

    index = serializers.IntegerField(help_text="Of the item in the request, from 0.")
    status = serializers.IntegerField(help_text="What POST /keys would have answered: 201, or 400 and 409 for what was refused.")
    key = KeyWithCredentialShape(allow_null=True)
    problem = ItemProblemShape(allow_null=True)


@shows(
    bought=1,
    refused=1,
    outcomes=[
        {"index": 0, "status": 201, "key": {**_KEY, "credential": _CREDENTIAL}, "problem": None},
        {"index": 1, "status": 409, "key": None, "problem": _PROBLEM},
    ],
)
class BatchShape(serializers.Serializer[Any]):
    """What became of each item, in the order of the request."""

    bought = serializers.IntegerField()
    refused = serializers.IntegerField()
    outcomes = OutcomeShape(many=True)


# --- Usage ----------------------------------------------------------------------------------------------------------------------


class PeriodShape(serializers.Serializer[Any]):
    """Use of the quota in the period that is running. Figures are late by up to an hour; their age is told."""

    used = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True, help_text="Null: no quota; the period is the month then.")
    remaining = serializers.IntegerField(allow_null=True)
    starts_at = serializers.DateTimeField()
    resets_at = serializers.DateTimeField()
    read_at = serializers.DateTimeField(allow_null=True, help_text="Null: nothing was read in this period yet.")
    age_seconds = serializers.IntegerField(allow_null=True, help_text="How long ago that is.")


class UsedDayShape(serializers.Serializer[Any]):
    """Requests of one UTC day."""

    date = serializers.DateField()
    used = serializers.IntegerField()


class _Between(serializers.Serializer[Any]):
    # "from" is a word of Python's, so the days are given by get_fields.
    def get_fields(self) -> dict[str, Any]:
        """With the days in front."""
        first = serializers.DateField(help_text="First UTC day.")
        last = serializers.DateField(help_text="Last UTC day, which is in it.")
        return {"from": first, "to": last, **super().get_fields()}


@shows(
    **{"from": "2026-11-20", "to": "2026-11-21"},
    key=_ID,
    interval="day",
    used=290,
    days=[{"date": "2026-11-20", "used": 170}, {"date": "2026-11-21", "used": 120}],
    period=_PERIOD,
)
class KeyUsageShape(_Between):
    """Requests of one key."""

    key = serializers.UUIDField()
    interval = serializers.ChoiceField(choices=["day"])
    used = serializers.IntegerField(help_text="Of all these days.")
    days = UsedDayShape(many=True, help_text="Oldest first; days without a figure are 0.")
    period = PeriodShape()


@shows(**{"from": "2026-11-01", "to": "2026-11-21"}, key=_ID, name="Shop", tier="premium", used=1240, period=_PERIOD)
class UsageShape(_Between):
    """Requests of one key over some UTC days."""

    key = serializers.UUIDField()
    name = serializers.CharField()
    tier = serializers.CharField()
    used = serializers.IntegerField()
    period = PeriodShape()


def period_shown(usage: PeriodUsage, now: datetime) -> dict[str, Any]:
    """``PeriodShape``."""
    return {
        "used": usage.used,
        "limit": usage.limit,
        "remaining": usage.remaining,
        "starts_at": usage.starts_at,
        "resets_at": usage.resets_at,
        "read_at": usage.read_at,
        "age_seconds": None if usage.read_at is None else max(0, int((now - usage.read_at).total_seconds())),
    }
